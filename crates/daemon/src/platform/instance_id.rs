//! The id of the instance, as cloud-init has left it on this machine. The start of the daemon calls no
//! metadata service, and the ids of the firmware (`/sys/class/dmi/id`) are readable for root alone.

use std::path::Path;

use crate::runtime::{file_watch, trust, trust::Purpose};

/// The files with the id, which every user can read: of this boot, and of the last one. Source:
/// `_reflect_cur_instance` in `cloudinit/stages.py` of cloud-init 22.4.
const FILES: [&str; 2] = [
    "/run/cloud-init/.instance-id",
    "/var/lib/cloud/data/instance-id",
];

/// The id that cloud-init writes on a machine without a metadata service.
const NO_INSTANCE: &str = "iid-datasource-none";

/// Maximum size of a file with an id. A larger file is some other file.
const MAX_FILE_BYTES: usize = 256;

/// Returns the id of the instance; `None` on a machine where cloud-init has left none.
#[must_use]
pub fn read() -> Option<String> {
    FILES.iter().find_map(|it| read_file(Path::new(it)))
}

fn read_file(path: &Path) -> Option<String> {
    trust::check(path, Purpose::Decides).ok()?;
    let (file, _) = file_watch::open(path, MAX_FILE_BYTES).ok()?;
    let text = file_watch::read(file, MAX_FILE_BYTES).ok()?;
    let id = text.trim();
    (!id.is_empty() && id != NO_INSTANCE).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read_file;

    #[test]
    fn instance_id_is_one_line_of_a_datasource() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("instance-id");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            read_file(&file)
        };
        assert_eq!(read("i-j6c0123\n").as_deref(), Some("i-j6c0123"));
        assert_eq!(read("iid-datasource-none\n"), None);
        assert_eq!(read("\n"), None);
        assert_eq!(read(&"x".repeat(300)), None);
        assert_eq!(read_file(&root.path().join("none")), None);
    }
}
