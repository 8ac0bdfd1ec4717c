//! Which of two forms of an answer a client wants.
//!
//! Owns the reading of `Accept`. Browsers name `text/html` and take anything else less gladly; programs name JSON,
//! or anything, or nothing, and get JSON as from every Beat.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The best weight; weights are counted in thousandths.
const MOST: u16 = 1000;

/// Whether HTML is wanted more than JSON. JSON wins where both are wanted alike, and where neither is.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let ranges: Vec<_> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    weight(&ranges, "text", "html") > weight(&ranges, "application", "json")
}

/// What a range of media types names, and how much it is wanted.
type Range<'a> = (&'a str, &'a str, u16);

/// `type/subtype;q=0.8`. Other parameters make no difference here.
fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let weight = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(Some(MOST), |(_, value)| thousandths(value.trim()))?;
    Some((kind.trim(), subtype.trim(), weight))
}

/// A weight from 0 to 1 with at most three digits behind the dot; `None` = no such weight.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !digits {
        return None;
    }
    let weight = format!("{whole}{fraction:0<3}").parse().ok()?;
    (weight <= MOST).then_some(weight)
}

/// How much a type is wanted: the range that fits it closest decides. 0 = not at all.
fn weight(ranges: &[Range<'_>], kind: &str, subtype: &str) -> u16 {
    let fits = |range: &&Range<'_>, kind: &str, subtype: &str| {
        range.0.eq_ignore_ascii_case(kind) && range.1.eq_ignore_ascii_case(subtype)
    };
    [(kind, subtype), (kind, "*"), ("*", "*")]
        .into_iter()
        .find_map(|(kind, subtype)| ranges.iter().find(|range| fits(range, kind, subtype)))
        .map_or(0, |(.., weight)| *weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        prefers_html(&headers)
    }

    #[test]
    fn browsers_get_the_page() {
        for accept in [
            // Firefox, Chromium, Safari; Internet Explorer sent */* and gets JSON.
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
             application/signed-exchange;v=b3;q=0.7",
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "text/*",
            "application/json;q=0.5, text/html;q=0.501",
            "text/html;level=1;Q=1.000",
            "*/*;q=0.1, text/html",
            "text/html, application/json;q=0",
        ] {
            assert!(html(&[accept]), "{accept}");
        }
        assert!(
            html(&["application/json;q=0.2", "text/html"]),
            "two headers are one"
        );
    }

    #[test]
    fn programs_get_json() {
        for accept in [
            "*/*",
            "application/json",
            "application/json, text/html",
            "application/json, text/html;q=0.9, */*;q=0.8",
            "application/*, text/html;q=0.4",
            "text/html;q=0",
            "text/html;q=0.000, */*",
            "text/*;q=0.5, */*",
            "text/plain",
            "image/png",
            "",
            "html",
            "text/html;q=2",
            "text/html;q=-1",
            "text/html;q=1.001",
            "text/html;q=0.0001",
            "text/html;q=abc",
            "text/html;q=+1",
        ] {
            assert!(!html(&[accept]), "{accept}");
        }
        assert!(!html(&[]));
    }
}
