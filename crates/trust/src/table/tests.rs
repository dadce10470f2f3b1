//! The whole table, on made-up components.

use std::path::Path;

use super::*;
use crate::judge;

/// The process of the tests: user 1000, in the groups 1000 and 27.
const OWN: u32 = 1000;
const OTHER: u32 = 1001;

fn object(kind: Kind, owner: u32, mode: u32) -> Facts {
    Facts {
        kind,
        owner,
        group: 50,
        mode,
        is_private_group: false,
        has_acl: false,
        mount: Mount::Inside,
        is_data_link: false,
        is_var_log: false,
    }
}

fn directory(owner: u32, mode: u32) -> Facts {
    object(Kind::Directory, owner, mode)
}

fn file(owner: u32, mode: u32) -> Facts {
    object(Kind::File, owner, mode)
}

fn link(owner: u32) -> Facts {
    object(Kind::Link, owner, 0o777)
}

fn private(facts: Facts) -> Facts {
    Facts {
        is_private_group: true,
        ..facts
    }
}

fn acl(facts: Facts) -> Facts {
    Facts {
        has_acl: true,
        ..facts
    }
}

fn of_group(facts: Facts, group: u32) -> Facts {
    Facts { group, ..facts }
}

fn volume(mode: u32) -> Facts {
    Facts {
        mount: Mount::Volume,
        ..directory(0, mode)
    }
}

fn data_link(owner: u32) -> Facts {
    Facts {
        is_data_link: true,
        ..link(owner)
    }
}

/// Returns the verdict on a chain below `/`, in which each directory contains the next component.
fn verdict(purpose: Purpose, chain: &[Facts], process: &ProcessIds) -> Result<(), Reason> {
    let mut table = Table::new(purpose, process);
    let mut depth = 1;
    table.check(&directory(process.root, 0o755), 0, Position::Inner)?;
    for (index, facts) in chain.iter().enumerate() {
        let position = if index + 1 == chain.len() {
            Position::Last
        } else {
            Position::Inner
        };
        table.check(facts, depth, position)?;
        depth += usize::from(facts.kind == Kind::Directory);
    }
    Ok(())
}

/// Asserts the verdict for the process of the tests; `None` accepts.
#[track_caller]
fn check(purpose: Purpose, chain: &[Facts], expected: Option<Reason>) {
    let process = ProcessIds::new(OWN, vec![OWN, 27]);
    let found = verdict(purpose, chain, &process).err();
    assert_eq!(found, expected, "{purpose:?} {chain:?}");
}

#[test]
fn writable_path_that_others_write_to_is_accepted_unless_replaceable() {
    let shared = || directory(OTHER, 0o777);
    let purpose = Purpose::WritablePath;
    check(purpose, &[directory(0, 0o755), shared()], None);
    check(purpose, &[directory(0, 0o1777)], None);
    check(
        purpose,
        &[directory(0, 0o1777), directory(OWN, 0o777)],
        None,
    );
    check(purpose, &[directory(0, 0o755), file(OTHER, 0o666)], None);
    check(
        purpose,
        &[directory(0, 0o1777), shared()],
        Some(Reason::Owner),
    );
    check(
        purpose,
        &[directory(OTHER, 0o755), file(OWN, 0o600)],
        Some(Reason::Owner),
    );
    let open = [directory(0, 0o777), directory(OWN, 0o700)];
    check(purpose, &open, Some(Reason::OthersWrite));
}

#[test]
fn null_device_is_accepted_with_its_mode() {
    let null = |owner| object(Kind::NullDevice, owner, 0o666);
    for purpose in [Purpose::Decides, Purpose::Secret] {
        check(purpose, &[directory(0, 0o755), null(0)], None);
        let replaceable = [directory(0, 0o777), null(0)];
        check(purpose, &replaceable, Some(Reason::OthersWrite));
        check(purpose, &[null(OTHER)], Some(Reason::Owner));
    }
    let own = ProcessIds::own();
    assert!(judge(Path::new("/dev/null"), Purpose::Decides, &own).is_ok());
}

#[test]
fn owner_and_writers_of_a_file_and_of_each_directory() {
    for place in [0, 1, 2] {
        let chain = |it: fn(u32, u32) -> Facts, owner, mode| {
            let mut chain = [directory(0, 0o755), directory(OWN, 0o700), file(OWN, 0o600)];
            chain[place] = if place == 2 {
                file(owner, mode)
            } else {
                it(owner, mode)
            };
            chain
        };
        let check = |owner, mode, expected| {
            let chain = chain(directory, owner, mode);
            check(Purpose::Decides, &chain, expected);
        };
        check(0, 0o755, None);
        check(OWN, 0o755, None);
        check(OWN, 0o4755, None);
        check(OTHER, 0o755, Some(Reason::Owner));
        check(OTHER, 0o700, Some(Reason::Owner));
        check(0, 0o775, Some(Reason::GroupWrites));
        check(OWN, 0o770, Some(Reason::GroupWrites));
        check(OWN, 0o757, Some(Reason::OthersWrite));
        check(OWN, 0o777, Some(Reason::OthersWrite));
        check(0, 0o777, Some(Reason::OthersWrite));
    }
}

#[test]
fn group_of_the_owner_alone_may_write() {
    for (facts, expected) in [
        (private(directory(OWN, 0o775)), None),
        (private(directory(0, 0o775)), None),
        (private(directory(OWN, 0o777)), Some(Reason::OthersWrite)),
        (private(directory(OTHER, 0o775)), Some(Reason::Owner)),
        // The group bits are the mask of the list: a user of the list may write.
        (acl(private(directory(OWN, 0o775))), Some(Reason::AclWrites)),
        (acl(directory(OWN, 0o755)), None),
    ] {
        check(Purpose::Decides, &[facts, file(OWN, 0o600)], expected);
    }
    check(Purpose::Decides, &[private(file(OWN, 0o664))], None);
    let listed = acl(private(file(OWN, 0o664)));
    check(Purpose::Decides, &[listed], Some(Reason::AclWrites));
}

#[test]
fn content_of_a_sticky_directory_is_not_another_users() {
    for mode in [0o1777, 0o1775] {
        let tmp = directory(0, mode);
        let inside = directory(OWN, 0o700);
        check(Purpose::Decides, &[tmp, inside, file(OWN, 0o600)], None);
        check(Purpose::Decides, &[tmp, file(OWN, 0o600)], None);
        check(Purpose::Decides, &[tmp, file(0, 0o644)], None);
        let other = [tmp, directory(OTHER, 0o755), file(OWN, 0o600)];
        check(Purpose::Decides, &other, Some(Reason::Owner));
        let planted = [tmp, link(OTHER), file(OWN, 0o600)];
        check(Purpose::Decides, &planted, Some(Reason::Owner));
        let loose = [tmp, directory(OWN, 0o777), file(OWN, 0o600)];
        check(Purpose::Decides, &loose, Some(Reason::OthersWrite));
    }
    let foreign = [directory(OTHER, 0o1777), file(OWN, 0o600)];
    check(Purpose::Decides, &foreign, Some(Reason::Owner));
}

#[test]
fn written_directory_is_not_sticky() {
    for purpose in [Purpose::WrittenDirectory, Purpose::LogDirectory] {
        let tmp = directory(0, 0o1777);
        check(purpose, &[tmp, directory(OWN, 0o700)], None);
        check(purpose, &[tmp], Some(Reason::OthersWrite));
        check(purpose, &[volume(0o777)], Some(Reason::OthersWrite));
    }
    let var_log = Facts {
        is_var_log: true,
        ..directory(0, 0o775)
    };
    let log = [var_log, directory(OWN, 0o755)];
    check(Purpose::LogDirectory, &log, None);
    check(Purpose::WrittenDirectory, &log, Some(Reason::GroupWrites));
    let open = Facts {
        mode: 0o777,
        ..var_log
    };
    check(
        Purpose::LogDirectory,
        &[open, log[1]],
        Some(Reason::OthersWrite),
    );
}

#[test]
fn socket_may_be_below_an_empty_dir_of_kubernetes() {
    let disk = Facts {
        mount: Mount::Other,
        ..directory(0, 0o777)
    };
    for shared in [disk, volume(0o777), volume(0o2777)] {
        let own = [shared, directory(OWN, 0o700)];
        check(Purpose::SocketDirectory, &own, None);
        check(
            Purpose::SocketDirectory,
            &[shared],
            Some(Reason::OthersWrite),
        );
        let other = [shared, directory(OTHER, 0o700)];
        check(Purpose::SocketDirectory, &other, Some(Reason::Owner));
    }
    let own = [volume(0o777), directory(OWN, 0o700)];
    check(Purpose::WrittenDirectory, &own, Some(Reason::OthersWrite));
    let own = [disk, directory(OWN, 0o700)];
    check(Purpose::WrittenDirectory, &own, Some(Reason::OthersWrite));
    let inside = [directory(0, 0o777), directory(OWN, 0o700)];
    check(Purpose::SocketDirectory, &inside, Some(Reason::OthersWrite));
}

#[test]
fn volume_of_root_holds_files_of_root_alone() {
    let inside = [volume(0o777), data_link(0), directory(0, 0o755)];
    let with = |last: Facts| [inside[0], inside[1], inside[2], last];
    check(Purpose::Decides, &with(file(0, 0o644)), None);
    check(Purpose::Secret, &with(file(0, 0o400)), None);
    let own = with(file(OWN, 0o600));
    check(Purpose::Decides, &own, Some(Reason::OwnerInVolume));
    let planted = [volume(0o777), link(OWN), file(0, 0o644)];
    check(Purpose::Decides, &planted, Some(Reason::OwnerInVolume));
    let elsewhere = [directory(0, 0o777), file(0, 0o644)];
    check(Purpose::Decides, &elsewhere, Some(Reason::OthersWrite));
    let disk = Facts {
        mount: Mount::Other,
        ..directory(0, 0o777)
    };
    check(
        Purpose::Decides,
        &[disk, file(0, 0o644)],
        Some(Reason::OthersWrite),
    );
    let foreign = Facts {
        owner: OWN,
        ..volume(0o777)
    };
    check(
        Purpose::Decides,
        &[foreign, file(0, 0o644)],
        Some(Reason::OthersWrite),
    );
}

#[test]
fn secret_is_open_to_its_owner_or_a_group_from_root() {
    for (secret, expected) in [
        (file(OWN, 0o600), None),
        (file(OWN, 0o400), None),
        (file(0, 0o600), None),
        (of_group(file(0, 0o440), 27), None),
        (of_group(file(0, 0o640), OWN), None),
        (of_group(file(0, 0o440), 50), Some(Reason::GroupReads)),
        (of_group(file(0, 0o660), 27), Some(Reason::GroupReads)),
        (of_group(file(0, 0o444), 27), Some(Reason::OthersRead)),
        (of_group(file(0, 0o641), 27), Some(Reason::OthersRead)),
        (of_group(file(OWN, 0o640), 27), Some(Reason::GroupReads)),
        (private(file(OWN, 0o660)), Some(Reason::GroupReads)),
        (file(OWN, 0o644), Some(Reason::OthersRead)),
        (file(OWN, 0o602), Some(Reason::OthersRead)),
        (file(OTHER, 0o600), Some(Reason::Owner)),
        (acl(of_group(file(0, 0o440), 27)), Some(Reason::AclReads)),
    ] {
        for purpose in [Purpose::Secret, Purpose::Token] {
            check(purpose, &[directory(OWN, 0o700), secret], expected);
        }
    }
}

#[test]
fn secret_for_root_is_open_to_a_supplementary_group_alone() {
    let process = ProcessIds::new(0, vec![0, 27]);
    for (group, expected) in [(27, None), (0, Some(Reason::GroupReads))] {
        let chain = [of_group(file(0, 0o440), group)];
        let found = verdict(Purpose::Secret, &chain, &process).err();
        assert_eq!(found, expected, "{group}");
    }
}

#[test]
fn systemd_credential_has_an_access_control_list() {
    for (secret, expected) in [
        (acl(file(0, 0o440)), None),
        (file(OWN, 0o400), None),
        (acl(file(0, 0o460)), Some(Reason::GroupReads)),
        (acl(file(0, 0o444)), Some(Reason::OthersRead)),
        (acl(file(OWN, 0o440)), Some(Reason::GroupReads)),
    ] {
        let chain = [acl(directory(0, 0o550)), secret];
        check(Purpose::SystemdCredential, &chain, expected);
    }
}

#[test]
fn token_in_a_volume_of_kubernetes_is_open_to_the_pod() {
    for mode in [0o777, 0o1777] {
        let with = |link: Facts, last| [volume(mode), link, directory(0, 0o755), last];
        let token = with(data_link(0), file(0, 0o644));
        check(Purpose::Token, &token, None);
        check(Purpose::Secret, &token, Some(Reason::OthersRead));
        let written = with(data_link(0), file(0, 0o646));
        check(Purpose::Token, &written, Some(Reason::OthersRead));
        // Only the kubelet's layout counts: /tmp may be a tmpfs too.
        let other = with(link(0), file(0, 0o644));
        check(Purpose::Token, &other, Some(Reason::OthersRead));
    }
    let plain = [directory(0, 0o755), data_link(0), file(0, 0o644)];
    check(Purpose::Token, &plain, Some(Reason::OthersRead));
}

#[test]
fn overflow_owner_is_trusted_where_no_other_user_writes() {
    let process = ProcessIds {
        root: 65_534,
        ..ProcessIds::new(OWN, vec![OWN])
    };
    let check = |purpose, chain: &[Facts], expected| {
        assert_eq!(
            verdict(purpose, chain, &process).err(),
            expected,
            "{chain:?}"
        );
    };
    let (usr, tmp) = (directory(65_534, 0o755), directory(65_534, 0o1777));
    check(Purpose::Decides, &[usr, file(65_534, 0o755)], None);
    check(Purpose::Secret, &[usr, file(OWN, 0o600)], None);
    check(Purpose::Decides, &[tmp, file(OWN, 0o755)], None);
    let planted = [tmp, file(65_534, 0o755)];
    check(Purpose::Decides, &planted, Some(Reason::Owner));
    let open = Facts {
        owner: 65_534,
        ..volume(0o777)
    };
    let planted = [open, file(65_534, 0o644)];
    check(Purpose::Decides, &planted, Some(Reason::OthersWrite));
    let readable = of_group(file(65_534, 0o440), OWN);
    check(Purpose::Secret, &[usr, readable], Some(Reason::GroupReads));
}
