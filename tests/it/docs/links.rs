//! Every link within the repository leads to a file that is there, and to a heading that is in it.

use std::path::{Component, Path, PathBuf};

use super::page::{self, Page, root};

/// The file that a link from `from` leads to, relative to the root; `None` = it leads out of the repository.
fn target(from: &str, link: &str) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in Path::new(from).parent().unwrap().join(link).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => {
                parts.pop()?;
            }
            _ => {}
        }
    }
    Some(parts.iter().collect())
}

/// What is wrong with the link; `None` = nothing.
fn broken(pages: &[Page], from: &Page, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let name = if file.is_empty() {
        PathBuf::from(&from.name)
    } else {
        match target(&from.name, file) {
            Some(name) => name,
            None => return Some("leads out of the repository".to_owned()),
        }
    };
    if !root().join(&name).exists() {
        return Some(format!("{} is not there", name.display()));
    }
    if anchor.is_empty() || name.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let page = pages.iter().find(|page| Path::new(&page.name) == name);
    let headings = page.map_or(&[][..], |page| &page.headings);
    let found = headings.iter().any(|(_, known)| known == anchor);
    (!found).then(|| format!("{} has no heading #{anchor}", name.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = page::all();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in &pages {
        for link in &page.links {
            checked += 1;
            if let Some(why) = broken(&pages, page, link) {
                wrong.push(format!("{}: {link}: {why}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 60, "{checked}");
}

#[test]
fn the_index_names_every_page() {
    let index = Page::read("docs/README.md");
    let missing: Vec<String> = page::for_operators()
        .into_iter()
        .filter_map(|page| Some(page.name.strip_prefix("docs/")?.to_owned()))
        .filter(|name| name != "README.md" && !index.links.contains(name))
        .collect();
    assert!(missing.is_empty(), "not in docs/README.md: {missing:?}");
}

#[test]
fn a_broken_link_is_found() {
    let pages = page::all();
    let readme = Page::read("README.md");
    let from = Page::read("docs/ha.md");
    assert_eq!(broken(&pages, &from, "../README.md#endpoints"), None);
    assert_eq!(broken(&pages, &readme, "docs/ha.md#limits"), None);
    assert_eq!(broken(&pages, &readme, "https://example.org/x#y"), None);
    for link in [
        "ha.md",
        "docs/ha.md#limit",
        "#no-such-heading",
        "../../x",
        "docs/none.md#limits",
    ] {
        assert!(broken(&pages, &readme, link).is_some(), "{link}");
    }
}
