//! The fragments beside the configuration file: `config.d/*.toml`.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use stsd_model::{fragment_directory, is_fragment_name};
use toml::{Table, Value};

/// The directory of the fragments beside a file that is tried in place of the configuration file; the
/// link is removed when the value is dropped.
pub(crate) struct LinkedFragments {
    /// The link; `None` without fragments.
    link: Option<PathBuf>,
}

impl LinkedFragments {
    /// Links the fragments of a configuration file to those of another file.
    pub(crate) fn create(config: &Path, tried: &Path) -> io::Result<Self> {
        let origin = fragment_directory(config).filter(|it| it.is_dir());
        let link = fragment_directory(tried).filter(|_| origin.is_some());
        if let (Some(origin), Some(link)) = (&origin, &link) {
            symlink(std::path::absolute(origin)?, link)?;
        }
        Ok(Self { link })
    }
}

impl Drop for LinkedFragments {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = fs::remove_file(link);
        }
    }
}

/// Returns the fragments of a configuration file in the order of their names; none without the
/// directory, and none if the directory cannot be read.
pub(crate) fn paths(config: &Path) -> Vec<PathBuf> {
    let entries = fragment_directory(config).and_then(|it| fs::read_dir(it).ok());
    let entries = entries.into_iter().flatten().flatten();
    let fragments = entries.filter(|it| is_fragment_name(&it.file_name()));
    let mut paths: Vec<_> = fragments.map(|it| it.path()).collect();
    paths.sort();
    paths
}

/// Returns the tables of a text at the path of the configuration file, and of its fragments. The daemon
/// reports the mistakes; a file that is not TOML has no tables here.
pub(crate) fn tables(config: &Path, text: &str) -> Table {
    let mut all: Table = toml::from_str(text).unwrap_or_default();
    for path in paths(config) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut added: Table = toml::from_str(&text).unwrap_or_default();
        let directory = path.parent().unwrap_or(Path::new("."));
        resolve(&mut added, directory);
        merge(&mut all, added);
    }
    all
}

/// Makes the paths of a fragment absolute: they are relative to its own directory.
fn resolve(table: &mut Table, directory: &Path) {
    for (key, value) in table.iter_mut() {
        let is_path =
            key.ends_with("_file") || matches!(key.as_str(), "path" | "file" | "writable");
        match value {
            Value::Table(table) => resolve(table, directory),
            Value::String(path) if is_path => *path = joined(directory, path),
            Value::Array(paths) if is_path => {
                for path in paths {
                    if let Value::String(path) = path {
                        *path = joined(directory, path);
                    }
                }
            }
            _ => {}
        }
    }
}

fn joined(directory: &Path, path: &str) -> String {
    directory.join(path).to_string_lossy().into_owned()
}

/// Adds the tables of a fragment. The daemon refuses a table that is there twice.
fn merge(all: &mut Table, added: Table) {
    for (key, value) in added {
        match (all.get_mut(&key), value) {
            (Some(Value::Table(existing)), Value::Table(added)) => existing.extend(added),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LinkedFragments, paths, tables};

    #[test]
    fn tables_of_fragments_have_absolute_paths() {
        let root = tempfile::tempdir().unwrap();
        let config = root.path().join("config.toml");
        let directory = root.path().join("config.d");
        fs::create_dir(&directory).unwrap();
        let fragment = "[source.b]\naccess_key_file = \"b.key\"\n";
        fs::write(directory.join("20-b.toml"), fragment).unwrap();
        fs::write(directory.join("10-c.toml"), "[http]\n").unwrap();
        fs::write(directory.join(".d.toml"), "[metrics]\n").unwrap();
        fs::write(directory.join("README"), "no TOML").unwrap();
        let names = ["10-c.toml", "20-b.toml"].map(|it| directory.join(it));
        assert_eq!(paths(&config), names);
        let all = tables(&config, "[source.a]\naccess_key_file = \"a.key\"\n");
        let file = |name: &str| all["source"][name]["access_key_file"].as_str();
        assert_eq!(file("a"), Some("a.key"));
        assert_eq!(file("b"), directory.join("b.key").to_str());
        assert!(all.contains_key("http") && !all.contains_key("metrics"));

        let tried = root.path().join(".tried-1.toml");
        let link = root.path().join(".tried-1.d");
        let linked = LinkedFragments::create(&config, &tried).unwrap();
        assert_eq!(paths(&tried).len(), 2);
        drop(linked);
        assert!(!link.exists() && directory.exists());
    }
}
