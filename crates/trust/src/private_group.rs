//! Groups with one member: distributions give each user a group of their own, and with it the umask
//! 002 (pam_umask(8), `usergroups`).

use std::fs;

use nix::unistd::{Gid, Group, Uid, User};

/// The accounts of this machine, passwd(5).
const ACCOUNTS: &str = "/etc/passwd";

/// The groups of this machine, group(5).
const GROUPS: &str = "/etc/group";

/// One line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// Returns `true` if a group is the owner's primary group and has no other member.
pub(crate) fn is_private(group: u32, owner: u32) -> bool {
    let user = User::from_uid(Uid::from_raw(owner)).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(group)).ok().flatten();
    let (Some(user), Some(group)) = (user, group) else {
        return false;
    };
    let accounts = fs::read_to_string(ACCOUNTS).unwrap_or_default();
    let groups = fs::read_to_string(GROUPS).unwrap_or_default();
    user.gid == group.gid
        && group.mem.iter().all(|it| *it == user.name)
        && !has_other_member(&groups, group.gid.as_raw(), &user.name)
        && is_primary_group_of_one(&accounts, &user.name, owner, &group)
}

/// Returns `true` if a group of the number has another member: several groups may share one number, and
/// the name service returns the first of them.
fn has_other_member(groups: &str, gid: u32, name: &str) -> bool {
    groups.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        let (number, members) = (fields.next(), fields.next().unwrap_or_default());
        let mut members = members.split(',').filter(|it| !it.is_empty());
        number.and_then(|it| it.parse().ok()) == Some(gid) && members.any(|it| it != name)
    })
}

/// Returns `true` if no other account has the primary group. The name service does not list the
/// accounts of a directory such as LDAP: the group of such a user has to bear the user's name, as
/// pam_umask(8) wants it.
fn is_primary_group_of_one(accounts: &str, name: &str, owner: u32, group: &Group) -> bool {
    let gid = group.gid.as_raw();
    let mut is_local = false;
    for account in accounts.lines().filter_map(parse) {
        is_local |= account.name == name;
        if account.gid == gid && account.uid != owner {
            return false;
        }
    }
    is_local || group.name == name
}

fn parse(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn groups_of_one_number_share_their_members() {
        let groups = "jo:x:1000:\nusers:x:100:eve\ndevs:x:1000:jo,eve\n";
        assert!(has_other_member(groups, 1000, "jo"));
        assert!(!has_other_member("jo:x:1000:jo\n", 1000, "jo"));
        assert!(!has_other_member(groups, 1001, "jo"));
    }

    fn group(name: &str, gid: u32) -> Group {
        Group {
            name: name.to_owned(),
            passwd: CString::default(),
            gid: Gid::from_raw(gid),
            mem: Vec::new(),
        }
    }

    #[test]
    fn group_is_private_only_without_another_account() {
        let check = |accounts: &str, name: &str, expected: bool| {
            let group = group("jo", 1000);
            let found = is_primary_group_of_one(accounts, name, 1000, &group);
            assert_eq!(found, expected, "{accounts} {name}");
        };
        let jo = "jo:x:1000:1000::/home/jo:/bin/sh\n";
        check(jo, "jo", true);
        check(&format!("{jo}eve:x:1001:1001::/:/bin/sh\n"), "jo", true);
        check(&format!("{jo}eve:x:1001:1000::/:/bin/sh\n"), "jo", false);
        check(&format!("{jo}toor:x:1000:1000::/:/bin/sh\n"), "jo", true);
        // A user of a directory service, which is in no file.
        check("root:x:0:0::/root:/bin/sh\n", "jo", true);
        check("root:x:0:0::/root:/bin/sh\n", "anna", false);
    }

    #[test]
    fn group_of_an_unknown_user_is_not_private() {
        assert!(!is_private(64_001, 64_001));
    }
}
