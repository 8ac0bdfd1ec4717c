//! What every page must be, whatever it shows: quiet, self-contained, readable by everybody on everything.

use serde_json::json;

use crate::support::chromium::Tab;

/// Narrow enough for any phone.
const PHONE: (u32, u32) = (320, 640);
const DESK: (u32, u32) = (1400, 900);
/// From a large screen to a phone, and on both sides of where the page changes its shape.
const WINDOWS: [(u32, u32); 7] = [
    (2560, 1440),
    DESK,
    (1350, 800),
    (1340, 800),
    (650, 900),
    (630, 900),
    PHONE,
];

/// Where text is hard to read, by the rule of WCAG 2 (AA): contrast of at least 4.5. Colours are opaque, but for those
/// that are not there at all.
const FAINT: &str = r"(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  let looked = 0;
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim());
    if (!own || element.closest('script, noscript, [hidden]')) continue;
    looked += 1;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  return looked < 20 ? [`only ${looked} texts`] : faint;
})()";

/// What is wider than the window. A phone would show a page that is too wide smaller, and tell that as its width.
const WIDE: &str = r"((most) => {
  const wide = [...document.body.querySelectorAll('*')]
    .filter((element) => element.getBoundingClientRect().right > most + 0.5)
    .map((element) => element.outerHTML.slice(0, 200));
  const page = document.documentElement.scrollWidth;
  if (page > most) wide.push(`page: ${page}`);
  return wide;
})";

/// Looks at a page in light and dark, on a desk and on a phone; `name` is for the pictures.
pub(super) async fn look(tab: &Tab<'_>, name: &str) {
    for size in WINDOWS {
        tab.window(size).await;
        let wide = tab.value(&format!("{WIDE}({})", size.0)).await;
        assert_eq!(wide, json!([]), "{name} in a window of {size:?}");
    }
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        tab.scheme(scheme).await;
        grounds.push(tab.value("getComputedStyle(document.body).backgroundColor").await);
        assert_eq!(tab.value(FAINT).await, json!([]), "{name} {scheme}");
        for (device, size) in [("phone", PHONE), ("desk", DESK)] {
            tab.window(size).await;
            tab.picture(&format!("{name}-{scheme}-{device}")).await;
            heard(tab, &format!("{name} {scheme} {device}")).await;
        }
    }
    assert_ne!(grounds[0], grounds[1], "{name}: dark is not light");
    tab.scheme("light").await;
}

/// The page as it is read aloud: landmarks, one first heading, names for all that needs one.
pub(super) async fn heard(tab: &Tab<'_>, what: &str) {
    let tree = tab.tree().await;
    let of = |role: &str| tree.iter().filter(|node| node.role == role).collect::<Vec<_>>();
    for landmark in ["banner", "main", "contentinfo", "navigation"] {
        assert_eq!(of(landmark).len(), 1, "{what}: {landmark}");
    }
    assert_eq!(tab.value("document.documentElement.lang").await, "en");
    let title = tab.value("document.title").await;
    assert_eq!(of("RootWebArea")[0].name, title.as_str().unwrap(), "{what}");
    let headings = of("heading");
    let levels: Vec<u64> = headings.iter().map(|heading| heading.level).collect();
    assert!(levels.len() > 3 && levels[0] == 1, "{what}: {levels:?}");
    assert!(levels[1..].iter().all(|level| *level == 2), "{what}: {levels:?}");
    assert!(
        title.as_str().unwrap().contains(&headings[0].name),
        "the title says who leads: {title}, {headings:?}"
    );
    for role in [
        "table",
        "columnheader",
        "rowheader",
        "link",
        "meter",
        "image",
        "region",
    ] {
        for node in of(role) {
            assert!(!node.name.trim().is_empty(), "{what}: a {role} without a name");
        }
    }
    assert!(!of("table").is_empty(), "{what}");
    assert!(!of("columnheader").is_empty(), "{what}");
    assert!(!of("rowheader").is_empty(), "{what}");
}

/// Nothing was said against it, and nothing was asked of anybody else.
pub(super) fn quiet(tab: &Tab<'_>, url: &str) {
    assert_eq!(tab.complaints(), Vec::<String>::new());
    let requests = tab.requests();
    let elsewhere = requests
        .iter()
        .find(|request| !request.starts_with(url) && !request.starts_with("data:"));
    assert_eq!(elsewhere, None);
    assert!(!requests.is_empty());
}
