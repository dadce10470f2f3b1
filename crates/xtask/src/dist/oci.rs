//! The container image: an archive in the layout of OCI (image-spec 1.1), with an index of all
//! architectures. The root file system has three programs, certificate authorities and licences, and no
//! shell.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Compression, Packing, Programs, at, file_tree,
    tools::{PythonTools, sha256},
};
use crate::process::{Outcome, cargo_command, output, run, say};

/// The programs of the image. `stsctl` is for health checks, the shim for an init container that copies
/// the program to a volume.
const PROGRAMS: [&str; 3] = ["stsd", "stsctl", "sts-shim"];

/// The user of the image, and the group. Distroless images have the same number for `nonroot`.
const UID: &str = "65532";

/// The files by which the user has a name and a home.
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "stsd:x:65532:65532:stsd:/:/usr/bin/stsd\n"),
    ("etc/group", "stsd:x:65532:\n"),
];

/// The maximum size of the compressed layers of an architecture.
const MAX_IMAGE_BYTES: u64 = 8_000_000;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A layer of the image.
struct Layer {
    descriptor: Descriptor,
    /// The SHA-256 of the uncompressed archive.
    diff_id: String,
}

/// The type, the SHA-256 and the size of a blob.
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
}

/// The directory of the layout.
struct Layout<'a> {
    packing: &'a Packing<'a>,
    directory: PathBuf,
}

/// Writes `stsd-VERSION-oci.tar`. `notices` are the licences of the libraries in the programs.
pub(crate) fn pack(
    packing: &Packing<'_>,
    all_programs: &[Programs],
    notices: &str,
    tools: &PythonTools,
) -> Outcome {
    let layout = Layout {
        packing,
        directory: packing.stage.join("oci"),
    };
    let base = layout.base_layer(notices, tools)?;
    let mut manifests = Vec::new();
    for programs in all_programs {
        let layer = layout.programs_layer(programs)?;
        let size = base.descriptor.size + layer.descriptor.size;
        let name = programs.architecture.debian_name();
        say(&format!("image, {name}: {size} bytes in compressed layers"));
        if packing.compression == Compression::Release && size > MAX_IMAGE_BYTES {
            return Err(format!(
                "the image for {name} is larger than {MAX_IMAGE_BYTES} bytes"
            ));
        }
        let manifest = layout.manifest(programs, &[&base, &layer])?;
        let platform = format!("{{\"architecture\":{name:?},\"os\":\"linux\"}}");
        manifests.push(manifest.json(&[("platform", &platform)]));
    }
    let index = format!(
        "{{\"manifests\":[{}],\"mediaType\":{INDEX_TYPE:?},\"schemaVersion\":2}}",
        manifests.join(",")
    );
    let index = layout.write_blob(INDEX_TYPE, &index)?;
    let annotations = format!(
        "{{\"org.opencontainers.image.ref.name\":{:?}}}",
        packing.release.version
    );
    let top = format!(
        "{{\"manifests\":[{}],\"mediaType\":{INDEX_TYPE:?},\"schemaVersion\":2}}",
        index.json(&[("annotations", &annotations)])
    );
    let directory = &layout.directory;
    file_tree::write(&directory.join("index.json"), &top)?;
    let version = "{\"imageLayoutVersion\":\"1.0.0\"}";
    file_tree::write(&directory.join("oci-layout"), version)?;
    file_tree::normalize_metadata(directory, packing.release)?;
    let name = format!("stsd-{}-oci.tar", packing.release.version);
    let mut archive = tar("-cf");
    archive.arg(packing.out.join(name));
    archive
        .args(["--owner=0", "--group=0", "-C"])
        .arg(directory);
    run(archive.args(["blobs", "index.json", "oci-layout"]))
}

impl Layout<'_> {
    /// Returns the layer that all architectures share: it has no programs.
    fn base_layer(&self, notices: &str, tools: &PythonTools) -> Result<Layer, String> {
        let tree = self.packing.stage.join("image-base");
        let doc = tree.join("usr/share/doc/stsd");
        for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
            file_tree::copy(&self.packing.source.join(name), &doc.join(name))?;
        }
        let authorities = tools.certificate_authorities()?;
        let version = tools.certificate_authorities_version()?;
        let notices = format!(
            "{notices}\nMozilla's certificate authorities in /etc/ssl/certs, as certifi {version} \
             of PyPI has them: MPL-2.0, https://mozilla.org/MPL/2.0/\n"
        );
        file_tree::write(&doc.join("THIRD-PARTY.txt"), &notices)?;
        let path = tree.join("etc/ssl/certs/ca-certificates.crt");
        file_tree::write(&path, &authorities)?;
        for (path, text) in ACCOUNTS {
            file_tree::write(&tree.join(path), text)?;
        }
        for directory in ["etc/stsd", "run/stsd"] {
            let path = tree.join(directory);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        file_tree::normalize_metadata(&tree, self.packing.release)?;
        let archive = tree.with_extension("tar");
        let mut base = tar("-cf");
        base.arg(&archive).args(["--owner=0", "--group=0"]);
        base.args(["--exclude=run/stsd", "-C"]).arg(&tree);
        run(base.args(["etc", "run", "usr"]))?;
        // The socket's directory must belong to the daemon and be private.
        let mut run_directory = tar("-rf");
        run_directory.arg(&archive).args(["--mode=0700", "-C"]);
        run_directory.arg(&tree).arg("run/stsd");
        run_directory.args(["--owner", UID, "--group", UID]);
        run(&mut run_directory)?;
        self.add_layer(&archive)
    }

    fn programs_layer(&self, programs: &Programs) -> Result<Layer, String> {
        let name = programs.architecture.debian_name();
        let tree = self.packing.stage.join(format!("image-{name}"));
        for name in PROGRAMS {
            file_tree::copy(&programs.all.join(name), &tree.join("usr/bin").join(name))?;
        }
        file_tree::normalize_metadata(&tree, self.packing.release)?;
        let archive = tree.with_extension("tar");
        let mut layer = tar("-cf");
        layer.arg(&archive).args(["--owner=0", "--group=0", "-C"]);
        run(layer.arg(&tree).arg("usr"))?;
        self.add_layer(&archive)
    }

    /// Compresses an archive, and adds the result to the blobs.
    fn add_layer(&self, archive: &Path) -> Result<Layer, String> {
        let diff_id = sha256(archive)?;
        let level = self.packing.compression.gzip_level();
        run(Command::new("gzip").args(["-n", level]).arg(archive))?;
        Ok(Layer {
            descriptor: self.add_blob(LAYER_TYPE, &archive.with_extension("tar.gz"))?,
            diff_id,
        })
    }

    /// Writes the configuration and the manifest of an architecture.
    fn manifest(&self, programs: &Programs, layers: &[&Layer]) -> Result<Descriptor, String> {
        let release = self.packing.release;
        let mut labels = String::from(
            "\"org.opencontainers.image.description\":\"local daemon for Alibaba Cloud role \
             credentials\",\"org.opencontainers.image.licenses\":\"MIT OR Apache-2.0\",",
        );
        if let Some(address) = repository(self.packing.source)? {
            let _ = write!(labels, "\"org.opencontainers.image.source\":{address:?},");
        }
        let _ = write!(
            labels,
            "\"org.opencontainers.image.title\":\"stsd\",\
             \"org.opencontainers.image.version\":{:?}",
            release.version
        );
        let diff_ids = layers.iter().map(|it| format!("\"sha256:{}\"", it.diff_id));
        let config = format!(
            "{{\"architecture\":{:?},\"config\":{{\"Entrypoint\":[\"/usr/bin/stsd\"],\
             \"Env\":[\"PATH=/usr/bin\",\"STSD_CONFIG=/etc/stsd/config.toml\",\
             \"STSD_SOCKET=/run/stsd/stsd.sock\"],\"Labels\":{{{labels}}},\
             \"User\":\"{UID}:{UID}\",\"Volumes\":{{\"/run/stsd\":{{}}}},\"WorkingDir\":\"/\"}},\
             \"created\":\"{}T00:00:00Z\",\"os\":\"linux\",\
             \"rootfs\":{{\"diff_ids\":[{}],\"type\":\"layers\"}}}}",
            programs.architecture.debian_name(),
            release.date,
            diff_ids.collect::<Vec<_>>().join(",")
        );
        let config = self.write_blob(CONFIG_TYPE, &config)?;
        let layers = layers.iter().map(|it| it.descriptor.json(&[]));
        let manifest = format!(
            "{{\"config\":{},\"layers\":[{}],\"mediaType\":{MANIFEST_TYPE:?},\"schemaVersion\":2}}",
            config.json(&[]),
            layers.collect::<Vec<_>>().join(",")
        );
        self.write_blob(MANIFEST_TYPE, &manifest)
    }

    fn write_blob(&self, media_type: &'static str, text: &str) -> Result<Descriptor, String> {
        let path = self.packing.stage.join("blob.json");
        file_tree::write(&path, text)?;
        self.add_blob(media_type, &path)
    }

    /// Moves a file to the blobs.
    fn add_blob(&self, media_type: &'static str, file: &Path) -> Result<Descriptor, String> {
        let digest = sha256(file)?;
        let size = fs::metadata(file).map_err(at(file))?.len();
        let blobs = self.directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(at(&blobs))?;
        fs::rename(file, blobs.join(&digest)).map_err(at(file))?;
        Ok(Descriptor {
            media_type,
            digest,
            size,
        })
    }
}

impl Descriptor {
    /// Returns the descriptor as JSON. The further key is one that sorts between the others.
    fn json(&self, further: &[(&str, &str)]) -> String {
        let digest = format!("\"sha256:{}\"", self.digest);
        let media_type = format!("{:?}", self.media_type);
        let size = self.size.to_string();
        let mut keys = vec![
            ("digest", digest.as_str()),
            ("mediaType", &media_type),
            ("size", &size),
        ];
        keys.extend(further);
        keys.sort_unstable();
        let keys = keys.iter().map(|(key, value)| format!("{key:?}:{value}"));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
    }
}

/// Returns the command of tar for an archive whose bytes do not depend on the machine.
fn tar(operation: &str) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=ustar", "--numeric-owner"]);
    tar.arg(operation);
    tar
}

/// Returns the address of the repository, which `[workspace.package]` has; `None` while it is unknown.
fn repository(source: &Path) -> Result<Option<String>, String> {
    let mut metadata = cargo_command(&["metadata", "--locked", "--no-deps"]);
    metadata.args(["--format-version", "1"]).current_dir(source);
    let text = output(&mut metadata)?;
    let mut values = text.split("\"repository\":\"").skip(1);
    let address = values.find_map(|rest| rest.split('"').next().filter(|it| !it.is_empty()));
    Ok(address.map(str::to_owned))
}
