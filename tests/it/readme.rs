//! The YAML in the READMEs and in `docs/` is configuration that loads, and what it is said to do it does.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ecsbeat::clock::Clock;
use ecsbeat::config::Config;
use ecsbeat::processor::{Host, Processors, Surroundings, Verdict};

use crate::docs::page::Page;
use crate::docs::snippets::loaded;

/// The YAML blocks of a Markdown file.
fn blocks(file: &str) -> Vec<String> {
    let page = Page::read(file);
    let found: Vec<String> = page.blocks_of("yaml").map(|block| block.text.clone()).collect();
    assert!(!found.is_empty(), "{file} has no YAML");
    found
}

/// Loads the files, one over the other.
fn loads(texts: &[&str]) -> Config {
    loaded(texts).unwrap_or_else(|errors| panic!("{errors}\n{}", texts.join("---\n")))
}

#[test]
fn what_the_readme_shows_can_be_copied() {
    let blocks = blocks("README.md");
    let [five_minutes, any_api] = blocks.as_slice() else {
        panic!("{} blocks", blocks.len())
    };
    let config = loads(&[five_minutes]);
    assert_eq!(config.ecsbeat.customers[0].vdcs.len(), 2);
    assert_eq!(config.ecsbeat.commands.len(), 13);
    let config = loads(&[five_minutes, any_api]);
    let kinds: Vec<&str> = config
        .ecsbeat
        .commands
        .iter()
        .map(|command| command.kind.as_str())
        .collect();
    assert_eq!(kinds, ["auditevent", "alldisks", "vpools", "hourlyevents"]);
}

/// A relative file is looked for in `path.config`, beside the binary: not where a reader has just written it.
#[test]
fn who_pastes_a_command_finds_the_file_it_names() {
    let mut seen = 0;
    for file in ["README.md", "docs/quick-start.md"] {
        let page = Page::read(file);
        for block in page.blocks_of("sh") {
            for line in block.text.lines().filter(|line| line.contains("ecsbeat ")) {
                let Some((_, rest)) = line.split_once(" -c ") else {
                    continue;
                };
                seen += 1;
                assert!(
                    rest.starts_with("\"$PWD/") || rest.starts_with('/'),
                    "{file}: {line}"
                );
            }
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn the_simulators_customers_can_be_copied() {
    let block = &blocks("tests/ecs-sim/README.md")[0];
    let indented: String = block.lines().map(|line| format!("  {line}\n")).collect();
    let config = loads(&[&format!("ecsbeat:\n{indented}output.console: {{}}\n")]);
    assert_eq!(config.ecsbeat.customers[0].name, "sim");
}

/// A machine of which little is known.
fn host() -> Host {
    Host {
        hostname: "n1".to_owned(),
        architecture: "x86_64".to_owned(),
        ..Host::default()
    }
}

#[test]
fn the_examples_of_processors_do_what_they_are_said_to_do() {
    let base = &blocks("README.md")[0];
    let blocks = Page::read("docs/processors.md").blocks;
    let mut shown = 0;
    for (index, block) in blocks.iter().enumerate() {
        if block.info != "yaml" {
            assert_eq!(block.info, "json");
            assert_eq!(blocks[index - 1].info, "yaml", "JSON stands below its YAML");
            continue;
        }
        let config = loads(&[base, &block.text]);
        assert!(!config.processors.is_empty(), "{}", block.text);
        let Some(events) = blocks.get(index + 1).filter(|next| next.info == "json") else {
            continue;
        };
        let [before, after] = events.text.lines().collect::<Vec<_>>()[..] else {
            panic!("two lines are expected: {}", events.text)
        };
        let surroundings = Surroundings {
            clock: Clock::system(),
            host,
        };
        let processors = Processors::new(&config.processors, &[], &surroundings);
        let mut notices = Vec::new();
        let verdict = processors
            .chain("any")
            .run(Bytes::copy_from_slice(before.as_bytes()), &mut notices);
        let Verdict::Keep(got) = verdict else {
            panic!("dropped: {}", block.text)
        };
        assert_eq!(std::str::from_utf8(&got).unwrap(), after, "{}", block.text);
        assert_eq!(notices, [], "{}", block.text);
        shown += 1;
    }
    assert!(shown >= 14, "{shown}");
}

/// Names of options, by processor, as the tables of the documentation have them.
#[test]
fn every_processor_of_the_sample_is_documented_with_all_its_options() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/processors.md")).unwrap();
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecsbeat.yml")).unwrap();
    let section = sample
        .split("# ================================ Processors")
        .nth(1)
        .and_then(|rest| rest.split("# =================================== Paths").next())
        .unwrap();
    let mut documented = "";
    let mut checked = 0;
    for line in section.lines() {
        if let Some(name) = line.strip_prefix("  #- ").and_then(|rest| rest.strip_suffix(':')) {
            if name == "if" {
                break;
            }
            let heading = format!("### {name}\n");
            documented = text.split(&heading).nth(1).unwrap_or_else(|| panic!("{heading}"));
            documented = documented.split("\n### ").next().unwrap();
        } else if let Some(rest) = line
            .strip_prefix("      #")
            .filter(|rest| rest.starts_with(char::is_lowercase))
        {
            let option = rest.split(": ").next().unwrap();
            if option.trim_end_matches(':').starts_with("when") {
                continue;
            }
            let option = option.trim_end_matches(':');
            assert!(
                documented.contains(&format!("`{option}`")),
                "{option} is not in:\n{documented}"
            );
            checked += 1;
        }
    }
    assert!(checked > 35, "{checked}");
}
