//! The documents: every command in them runs, every configuration is accepted, every link has a
//! target. Commands that are not run are listed with the reason.

use std::fs;

use super::{
    configuration, emulator, file, options,
    page::{Block, Page, blocks, pages, root},
    program, shell, terminal,
    world::World,
};

fn no(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn commands_of_the_documents_run_or_have_a_reason() {
    let blocks = blocks(&shell::LANGUAGES);
    let mut mistakes = Vec::new();
    for block in &blocks {
        mistakes.extend(shell::look(block).err());
        if let Some((_, reason)) = shell::reason(block) {
            e2e::not_run(&format!("{}: {reason}", block.place()));
        }
    }
    for page in pages() {
        if !page.blocks.iter().any(shell::is_run) {
            continue;
        }
        // Blocks of one page build on each other.
        let mut world = match page.blocks.iter().any(terminal::sets_up) {
            true => World::of_a_beginner(&page),
            false => World::whole(),
        };
        for block in &page.blocks {
            let done = match block {
                it if !shell::is_run(it) => {
                    if file::put(&world, &page, it).is_some() && file::is_a_new_place(it) {
                        world.restart();
                    }
                    Ok(())
                }
                it if emulator::is_start(it) => Ok(()),
                it if terminal::sets_up(it) => terminal::run(&mut world, it),
                it => shell::run(&world, it),
            };
            mistakes.extend(done.err());
        }
    }
    let leftovers = shell::leftovers(&blocks);
    mistakes.extend(leftovers.map(|it| format!("named as not run, and in no document: {it}")));
    no(&mistakes);
}

#[test]
fn programs_of_the_documents_run_as_their_first_line_says() {
    let world = World::whole();
    let mut mistakes = Vec::new();
    for page in pages() {
        for block in page.blocks.iter().filter(|it| program::is_one(it)) {
            match program::reason(block) {
                Some(reason) => e2e::not_run(&format!("{}: {reason}", block.place())),
                None if program::is_run_by_a_command(&page, block) => {}
                None => mistakes.extend(program::run(&world, block).err()),
            }
        }
    }
    let blocks = blocks(&program::LANGUAGES);
    for (text, _) in program::NOT_RUN {
        if !blocks.iter().any(|it| it.text.contains(text)) {
            mistakes.push(format!("named as not run, and in no document: {text}"));
        }
    }
    no(&mistakes);
}

#[test]
fn failed_command_is_reported_with_document_and_line() {
    let page = "# A page\n\n```sh\ntrue\nstsctl status\nstsctl get nosuch\ntrue\n```\n\n\
        ```sh\nstsctl exec oss-upload --statically -- true\n```\n";
    let page = Page::read("docs/planted.md", page);
    let world = World::whole();
    let error = shell::run(&world, &page.blocks[0]).unwrap_err();
    assert!(error.starts_with("docs/planted.md:6: "), "{error}");
    assert!(error.contains("nosuch"), "{error}");
    let error = shell::look(&page.blocks[1]).unwrap_err();
    assert!(
        error.starts_with("docs/planted.md:11: ") && error.contains("no option --statically"),
        "{error}"
    );
}

#[test]
fn inline_commands_of_the_documents_have_known_options() {
    let mut mistakes = Vec::new();
    for page in pages() {
        for (line, code) in page.codes() {
            let wrong = options::wrong(&code);
            mistakes.extend(wrong.map(|it| format!("{}:{line}: `{code}`: {it}", page.name)));
        }
    }
    no(&mistakes);
}

#[test]
fn configurations_of_the_documents_pass_check() {
    let checks = blocks(&["toml"]);
    let checks = checks.iter().map(configuration::check);
    let mistakes: Vec<_> = checks.filter_map(Result::err).collect();
    no(&mistakes);
}

#[test]
fn json_blocks_of_the_documents_parse() {
    let wrong = |block: Block| {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        Some(format!("{}: {}", block.place(), read.err()?))
    };
    let mistakes: Vec<_> = blocks(&["json"]).into_iter().filter_map(wrong).collect();
    no(&mistakes);
}

#[test]
fn links_of_the_documents_lead_to_a_file_and_heading() {
    let mut mistakes = Vec::new();
    for page in pages() {
        for (line, target) in page.links() {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let wrong = lost(&page, &target);
            mistakes.extend(wrong.map(|it| format!("{}:{line}: {target}: {it}", page.name)));
        }
    }
    no(&mistakes);
}

#[test]
fn contents_of_the_book_list_every_page_once() {
    let all = pages();
    let summary = all.iter().find(|it| it.name == "docs/SUMMARY.md").unwrap();
    let listed = summary.links().into_iter().map(|(_, target)| target);
    let mut listed: Vec<_> = listed.map(|it| format!("docs/{it}")).collect();
    listed.sort();
    let of_book = |page: &&Page| page.name.starts_with("docs/") && page.name != summary.name;
    let mut pages: Vec<_> = all
        .iter()
        .filter(of_book)
        .map(|it| it.name.clone())
        .collect();
    pages.sort();
    assert_eq!(listed, pages);
}

/// Returns the reason why a link leads to nothing, or `None`.
fn lost(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = root().join(&page.name);
    let path = match file {
        "" => here,
        _ => here.parent().unwrap().join(file),
    };
    if !path.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&path).unwrap();
    let anchors = Page::read(file, &text).anchors();
    let found = anchors.iter().any(|it| it == anchor);
    (!found).then(|| format!("there is no such heading; there are {}", anchors.join(", ")))
}
