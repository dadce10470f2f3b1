//! The page of the emulator: the command that starts it there is the command of the world's own
//! emulator, on free ports.

use super::{
    page::{Block, Page},
    shell,
};

/// The addresses in the document, of STS and of OSS.
pub(crate) const STS: &str = "127.0.0.1:7780";
pub(crate) const OSS: &str = "127.0.0.1:7781";

/// The directory of the authority in the document.
pub(crate) const TLS: &str = "emulator-tls";

const ANY_PORT: &str = "127.0.0.1:0";
const NAME: &str = "stsd-emulator --sts ";

/// Returns `true` if a block starts the emulator, which does not end.
pub(crate) fn is_start(block: &Block) -> bool {
    shell::commands(block).iter().any(|it| it.starts_with(NAME))
}

/// Returns the arguments of the command that starts the emulator, with `tls` as the directory of the
/// authority; no arguments for a page without such a command.
pub(crate) fn arguments(page: &Page, tls: &str) -> Vec<String> {
    let commands = page.blocks.iter().flat_map(shell::commands);
    let start = commands.into_iter().find(|it| it.starts_with(NAME));
    let here = |word: &str| match word {
        STS | OSS => ANY_PORT.to_owned(),
        TLS => tls.to_owned(),
        word => word.to_owned(),
    };
    let words = start.iter().flat_map(|it| it.split(' ').skip(1));
    words.map(here).collect()
}
