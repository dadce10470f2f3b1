//! The documents, and the parts of a Markdown page: blocks with their language, inline code, links
//! and headings, each with its line.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The languages of blocks. A block without a language could contain commands.
const LANGUAGES: [&str; 17] = [
    "bash",
    "console",
    "dockerfile",
    "fish",
    "go",
    "ini",
    "java",
    "js",
    "json",
    "mermaid",
    "python",
    "rust",
    "sh",
    "sql",
    "text",
    "toml",
    "yaml",
];

/// One document.
pub(crate) struct Page {
    /// Its path from the top of the repository.
    pub(crate) name: String,
    pub(crate) blocks: Vec<Block>,
    /// Its lines; the lines of blocks are empty.
    pub(crate) prose: Vec<String>,
}

/// The text between two fences.
#[derive(Clone)]
pub(crate) struct Block {
    /// The document.
    pub(crate) page: String,
    /// The line of the fence, from 1; the text begins on the next line.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    /// Returns the place of the block, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line + 1)
    }
}

pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().canonicalize().unwrap()
}

/// All documents: those at the top, and all below `docs` and `examples`.
pub(crate) fn pages() -> Vec<Page> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.join("docs"), root.join("examples")];
    while let Some(directory) = pending.pop() {
        for path in entries(&directory) {
            match path.is_dir() {
                true if path.ends_with("target") || path.ends_with("node_modules") => {}
                true => pending.push(path),
                false => found.push(path),
            }
        }
    }
    found.extend(entries(&root).into_iter().filter(|it| it.is_file()));
    found.retain(|it| it.extension().is_some_and(|it| it == "md"));
    found.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        Page::read(name.to_str().unwrap(), &text)
    };
    found.into_iter().map(named).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|it| it.unwrap().path()).collect()
}

/// Returns all blocks in one of these languages.
pub(crate) fn blocks(languages: &[&str]) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|it| it.blocks);
    blocks
        .filter(|it| languages.contains(&it.language.as_str()))
        .collect()
}

impl Page {
    pub(crate) fn read(name: &str, text: &str) -> Self {
        let mut page = Self {
            name: name.to_owned(),
            blocks: Vec::new(),
            prose: Vec::new(),
        };
        let mut open: Option<(Block, usize)> = None;
        for (index, line) in text.lines().enumerate() {
            let inner = line.trim_start();
            let fence = inner.strip_prefix("```");
            page.prose.push(String::new());
            match (open.take(), fence) {
                (None, Some(language)) => {
                    let place = format!("{name}:{}", index + 1);
                    let language = language.trim();
                    assert!(
                        LANGUAGES.contains(&language),
                        "{place}: a fence has no language of this list: {}",
                        LANGUAGES.join(", ")
                    );
                    let block = Block {
                        page: name.to_owned(),
                        line: index + 1,
                        language: language.to_owned(),
                        text: String::new(),
                    };
                    open = Some((block, line.len() - inner.len()));
                }
                (Some((block, _)), Some(_)) => page.blocks.push(block),
                (Some((mut block, indent)), None) => {
                    let line = line.get(indent..).unwrap_or(inner);
                    block.text.push_str(&format!("{line}\n"));
                    open = Some((block, indent));
                }
                (None, None) => line.clone_into(page.prose.last_mut().unwrap()),
            }
        }
        assert!(open.is_none(), "{name}: a block does not end");
        page
    }

    /// Returns the paragraph above a block, in one line.
    pub(crate) fn above(&self, block: &Block) -> String {
        let lines = self.prose[..block.line].iter().rev();
        let lines = lines.skip_while(|it| it.is_empty());
        let mut lines: Vec<_> = lines.take_while(|it| !it.is_empty()).cloned().collect();
        lines.reverse();
        lines.join(" ")
    }

    /// Returns the inline code, with the line on which it begins.
    pub(crate) fn codes(&self) -> Vec<(usize, String)> {
        let prose = self.prose.join("\n");
        let mut codes = Vec::new();
        let mut line = 1;
        for (index, part) in prose.split('`').enumerate() {
            if index % 2 == 1 {
                codes.push((line, part.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            line += part.matches('\n').count();
        }
        codes
    }

    /// Returns the targets of links and pictures, with the line.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (index, line) in self.prose.iter().enumerate() {
            // Inline code contains no links.
            let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
                for part in text.split(opening).skip(1) {
                    let target = part.split(closing).next().unwrap_or_default();
                    let target = target.split(' ').next().unwrap_or_default();
                    links.push((index + 1, target.to_owned()));
                }
            }
        }
        links
    }

    /// Returns the anchors of the headings: their letters, digits, `-` and `_`, with `-` for a space.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for line in self.prose.iter().filter(|it| it.starts_with('#')) {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
            let anchor: String = title.chars().filter(kept).collect();
            let anchor = anchor.replace(' ', "-");
            let before = anchors.iter().filter(|it| **it == anchor).count();
            match before {
                0 => anchors.push(anchor),
                _ => anchors.push(format!("{anchor}-{before}")),
            }
        }
        anchors
    }
}
