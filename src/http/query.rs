//! The query part of a request.
//!
//! Owns [`Query`]. Parameters that are not known are ignored, as load balancers like to add their own; a known
//! one with a value that makes no sense is an error, because a probe that is misspelt must not look healthy.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use url::form_urlencoded;

/// Name and value, decoded, in the order of the request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// A value that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {name} must be {want}")]
pub(super) struct BadValue {
    name: &'static str,
    want: &'static str,
}

impl Query {
    fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Whether the answer is to be indented, as in Beats: the mere name is enough.
    pub(super) fn pretty(&self) -> bool {
        self.flag("pretty").unwrap_or(true)
    }

    /// Whether it is in the query at all.
    pub(super) fn names(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A switch: on when named without a value.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, BadValue> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(BadValue {
                name,
                want: "true or false",
            }),
        }
    }

    /// A status code to answer with. Codes below 200 would not end the exchange.
    pub(super) fn code(&self, name: &'static str) -> Result<Option<StatusCode>, BadValue> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse::<u16>()
            .ok()
            .filter(|code| (200..=599).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .map(Some)
            .ok_or(BadValue {
                name,
                want: "a status code from 200 to 599",
            })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flags() {
        for (text, want) in [
            ("", Some(false)),
            ("other=1", Some(false)),
            ("strict", Some(true)),
            ("strict=", Some(true)),
            ("a=b&strict=true", Some(true)),
            ("strict=1", Some(true)),
            ("strict=0", Some(false)),
            ("strict=false", Some(false)),
            ("strict=yes", None),
            ("strict=%74rue", Some(true)),
        ] {
            assert_eq!(Query::parse(text).flag("strict").ok(), want, "{text}");
        }
    }

    #[test]
    fn reads_codes() {
        for (text, want) in [
            ("", Some(None)),
            ("standbycode=429", Some(Some(429))),
            ("standbycode=200", Some(Some(200))),
            ("standbycode=599", Some(Some(599))),
            ("standbycode=199", None),
            ("standbycode=600", None),
            ("standbycode=", None),
            ("standbycode=-1", None),
            ("standbycode=ok", None),
        ] {
            let got = Query::parse(text)
                .code("standbycode")
                .ok()
                .map(|code| code.map(|code| code.as_u16()));
            assert_eq!(got, want, "{text}");
        }
    }
}
