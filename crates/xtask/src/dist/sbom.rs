//! The libraries in the programs: a bill of materials in the format of CycloneDX, and the texts of
//! the licences, all of which require a copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Architecture, Release, at, output};
use crate::process::cargo_command;

/// The packages whose programs are released.
const SHIPPED: [&str; 5] = [
    "stsd",
    "stsctl",
    "sts-shim",
    "stsd-emulator",
    "stsd-oss-client",
];

/// The notice of the C library in static programs, from its file COPYRIGHT.
const MUSL: &str = "musl, the C library of the static programs: MIT\n\n\
    Copyright \u{a9} 2005-2020 Rich Felker, et al.\n";

/// The libraries in the programs.
#[derive(Debug)]
pub(crate) struct Sbom {
    components: Vec<Component>,
    compiler: String,
}

#[derive(Debug)]
struct Component {
    name: String,
    version: String,
    licence: String,
    /// The SHA-256 of the archive from the registry.
    hash: String,
    /// The folder of the sources.
    source: PathBuf,
}

impl Sbom {
    /// Reads the dependencies from cargo, without those that only run during the build.
    pub(crate) fn read(source: &Path) -> Result<Self, String> {
        let lock = source.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).map_err(at(&lock))?;
        let hashes = hashes(&lock);
        let sources = sources(source)?;
        let mut components = BTreeMap::new();
        for package in SHIPPED {
            let mut tree = cargo_command(&["tree", "--locked", "--prefix", "none"]);
            tree.args(["--edges", "normal,no-proc-macro", "--format", "{p}|{l}"]);
            tree.args(["--package", package]).current_dir(source);
            for line in output(&mut tree)?.lines() {
                let line = line.trim_end_matches(" (*)");
                let (name, licence) = line.split_once('|').unwrap_or((line, ""));
                let mut words = name.split(' ');
                let name = words.next().unwrap_or_default().to_owned();
                let version = words.next().unwrap_or_default().trim_start_matches('v');
                let key = (name, version.to_owned());
                // The crates of the workspace have no hash.
                if let Some(hash) = hashes.get(&key) {
                    components.insert(key, (licence.replace('/', " OR "), hash.clone()));
                }
            }
        }
        let components = components.into_iter().map(|((name, version), rest)| {
            let folder = format!("{name}-{version}");
            let source = sources.get(&folder).cloned();
            let source =
                source.ok_or_else(|| format!("cargo metadata has no sources of {folder}"))?;
            let (licence, hash) = rest;
            Ok(Component {
                name,
                version,
                licence,
                hash,
                source,
            })
        });
        let compiler = output(Command::new("rustc").arg("--version"))?;
        Ok(Self {
            components: components.collect::<Result<_, String>>()?,
            compiler: compiler.split(' ').nth(1).unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn cyclone_dx(&self, release: &Release) -> String {
        let components = self.components.iter().map(|it| {
            let (name, version) = (&it.name, &it.version);
            format!(
                "{{\"type\":\"library\",\"bom-ref\":\"pkg:cargo/{name}@{version}\",\
                 \"name\":\"{name}\",\"version\":\"{version}\",\
                 \"hashes\":[{{\"alg\":\"SHA-256\",\"content\":\"{}\"}}],\
                 \"licenses\":[{{\"expression\":\"{}\"}}],\
                 \"purl\":\"pkg:cargo/{name}@{version}\"}}",
                it.hash, it.licence
            )
        });
        let library = format!(
            "{{\"type\":\"library\",\"name\":\"std\",\"version\":\"{}\",\
             \"description\":\"Rust's standard library\",\
             \"licenses\":[{{\"expression\":\"MIT OR Apache-2.0\"}}]}}",
            self.compiler
        );
        let musl = "{\"type\":\"library\",\"name\":\"musl\",\"description\":\"the C library of \
                    the static programs, as Rust brings it\",\
                    \"licenses\":[{\"expression\":\"MIT\"}]}";
        let all: Vec<_> = components.chain([library, musl.to_owned()]).collect();
        let version = &release.version;
        format!(
            "{{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.5\",\"version\":1,\n\
             \"metadata\":{{\"timestamp\":\"{}T00:00:00Z\",\"component\":\
             {{\"type\":\"application\",\"bom-ref\":\"stsd@{version}\",\"name\":\"stsd\",\
             \"version\":\"{version}\",\
             \"licenses\":[{{\"expression\":\"MIT OR Apache-2.0\"}}]}}}},\n\
             \"components\":[\n{}\n]}}\n",
            release.date,
            all.join(",\n")
        )
    }

    /// Returns each text of a licence once, with the libraries that have it.
    pub(crate) fn notices(&self) -> Result<String, String> {
        let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
        let mut out = String::from("What is in the programs and comes from others.\n\n");
        for component in &self.components {
            let (name, version) = (&component.name, &component.version);
            out.push_str(&format!("{name} {version}: {}\n", component.licence));
            for text in component.texts()? {
                let libraries = texts.entry(text).or_default();
                libraries.insert(format!("{name} {version}"));
            }
        }
        let rust = format!(
            "Rust's standard library {}: MIT OR Apache-2.0\n",
            self.compiler
        );
        out.push_str(&rust);
        out.push_str(MUSL);
        let mut texts: Vec<_> = texts.into_iter().collect();
        texts.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (text, libraries) in texts {
            let libraries: Vec<_> = libraries.into_iter().collect();
            let line = "-".repeat(72);
            out.push_str(&format!("\n{line}\n{}\n\n{text}\n", libraries.join(", ")));
        }
        Ok(out)
    }
}

impl Component {
    /// Returns the texts of the licences; of several alternatives the MIT licence, the shortest one.
    fn texts(&self) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(&self.source).map_err(at(&self.source))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(at(&self.source))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.to_uppercase();
            let kinds = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
            if path.is_file() && kinds.iter().any(|kind| name.starts_with(kind)) {
                files.push((name, path));
            }
        }
        let choice = self.licence.split(" OR ").any(|it| it == "MIT");
        if choice && files.iter().any(|(name, _)| name.contains("MIT")) {
            files.retain(|(name, _)| !name.contains("APACHE") && !name.contains("ZLIB"));
        }
        files.sort();
        let texts = files.into_iter().map(|(_, path)| {
            let text = fs::read(&path).map_err(at(&path))?;
            let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
            Ok(text.trim_matches('\n').to_owned())
        });
        texts.collect()
    }
}

/// Returns the hash of each package of a registry in the lock file, by name and version.
fn hashes(lock: &str) -> BTreeMap<(String, String), String> {
    let packages = lock.split("[[package]]").skip(1);
    let packages = packages.filter_map(|package| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            Some(line?.trim_matches('"').to_owned())
        };
        let key = (value("name = ")?, value("version = ")?);
        Some((key, value("checksum = ")?))
    });
    packages.collect()
}

/// Returns the folder of the sources of each package, by `NAME-VERSION`.
fn sources(source: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut metadata = cargo_command(&["metadata", "--locked", "--format-version", "1"]);
    // Without the dependencies of other systems, which may not be downloaded.
    let platform = Architecture::host()?.triple("gnu");
    metadata.args(["--filter-platform", &platform]);
    let text = output(metadata.current_dir(source))?;
    let paths = text.split("\"manifest_path\":\"").skip(1);
    let folders = paths.filter_map(|rest| {
        let folder = Path::new(rest.split('"').next()?).parent()?;
        let name = folder.file_name()?.to_string_lossy().into_owned();
        Some((name, folder.to_owned()))
    });
    Ok(folders.collect())
}
