//! How settings that hold credentials in plain text are shown: without them.
//!
//! Owns the `Debug` of these settings, so that no log line or message of a test can give away the password of a
//! proxy or a header with a token. Names stay, to tell what is set.

use std::fmt;

use super::{Command, Customer, ElasticsearchOutput};

const HIDDEN: &str = "xxxxx";

/// A URL without its user.
struct Bare<'a>(&'a Option<url::Url>);

impl fmt::Debug for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("None"),
            Some(url) => {
                let user = if url.username().is_empty() && url.password().is_none() {
                    String::new()
                } else {
                    format!("{HIDDEN}@")
                };
                let host = url.host_str().unwrap_or_default();
                write!(f, "Some({}://{user}{host}", url.scheme())?;
                match url.port() {
                    Some(port) => write!(f, ":{port})"),
                    None => f.write_str(")"),
                }
            }
        }
    }
}

/// The names of pairs.
struct Names<'a>(&'a [(String, String)]);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, _)| (name, HIDDEN)))
            .finish()
    }
}

/// Writes a struct's fields, in their order; every field has to be named, so that none is forgotten.
macro_rules! shown {
    ($type:ident { $($field:ident $(as $hide:path)?),* $(,)? }) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($field),* } = self;
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), shown!(@value $field $($hide)?)))*
                    .finish()
            }
        }
    };
    (@value $field:ident) => { $field };
    (@value $field:ident $hide:path) => { &$hide($field) };
}

shown!(Customer {
    name,
    token_expiry,
    request_timeout,
    block_duration,
    refresh_interval,
    ssl,
    proxy_url as Bare,
    vdcs,
});

shown!(Command {
    kind,
    uri,
    level,
    interval,
    method,
    body,
    headers as Names,
    window,
    paginate,
    batch,
    records,
    key,
    time_field,
    processors,
});

shown!(ElasticsearchOutput {
    hosts,
    workers,
    loadbalance,
    username,
    password,
    api_key,
    parameters as Names,
    headers as Names,
    proxy_url as Bare,
    proxy_disable,
    compression_level,
    index,
    indices,
    pipeline,
    pipelines,
    bulk_max_size,
    max_retries,
    backoff,
    timeout,
    idle_connection_timeout,
    non_indexable,
    ssl,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_and_headers_are_not_shown() {
        let url = |text: &str| Some(text.parse().unwrap());
        let show = |url| format!("{:?}", Bare(&url));
        assert_eq!(
            show(url("http://user:CANARY@proxy:3128/")),
            "Some(http://xxxxx@proxy:3128)"
        );
        assert_eq!(show(url("https://proxy")), "Some(https://proxy)");
        assert_eq!(show(None), "None");
        let headers = [("Authorization".to_owned(), "CANARY".to_owned())];
        assert_eq!(format!("{:?}", Names(&headers)), r#"{"Authorization": "xxxxx"}"#);
    }
}
