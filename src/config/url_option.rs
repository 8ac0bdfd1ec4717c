//! URLs in the configuration: base URLs of servers, and proxies.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::Secret;
use super::section::Section;

/// What fills a host in that is not a whole URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults<'d> {
    /// `http` or `https`.
    pub(super) scheme: &'d str,
    /// For hosts that name none, whatever the scheme.
    pub(super) port: u16,
    /// For hosts without one.
    pub(super) path: &'d str,
}

/// User and password of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserInfo {
    pub(super) username: String,
    pub(super) password: Option<Secret>,
}

/// Reads `host`, `host:port` or a URL. The path of the result ends with `/`, user and password are taken out.
pub(super) fn base_url(text: &str, defaults: Defaults<'_>) -> Result<(Url, Option<UserInfo>), String> {
    let text = text.trim();
    let whole = if text.contains("://") {
        text.to_owned()
    } else if text.parse::<Ipv6Addr>().is_ok() {
        format!("{}://[{text}]", defaults.scheme)
    } else {
        format!("{}://{text}", defaults.scheme)
    };
    let mut url = Url::parse(&whole).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the scheme must be http or https".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "it must not have a query or a fragment; query parameters go into `parameters`".to_owned(),
        );
    }
    let user = user(&url);
    let mut result = url
        .set_username("")
        .and_then(|()| url.set_password(None))
        .map_err(|()| "it needs a host".to_owned());
    if !names_port(&whole) {
        result = result.and_then(|()| {
            url.set_port(Some(defaults.port))
                .map_err(|()| "it needs a host".to_owned())
        });
    }
    result?;
    if matches!(url.path(), "" | "/") {
        url.set_path(defaults.path);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok((url, user))
}

/// User and password of a URL, decoded; `None` where there is neither.
pub(super) fn user(url: &Url) -> Option<UserInfo> {
    (!url.username().is_empty() || url.password().is_some()).then(|| UserInfo {
        username: decoded(url.username()),
        password: url.password().map(|password| Secret::new(decoded(password))),
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether the text of a URL names a port. `Url` forgets it where it is the scheme's own.
fn names_port(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    after.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty())
}

/// Reads a proxy's URL; empty counts as none.
pub(super) fn proxy(section: &Section<'_>, key: &'static str) -> Option<Url> {
    let field = section.field(key)?;
    field.parsed(
        "a proxy such as http://proxy:3128 or socks5://proxy:1080",
        |text| {
            if text.trim().is_empty() {
                return Ok(None);
            }
            let url = Url::parse(text.trim()).map_err(|error| error.to_string())?;
            match url.scheme() {
                "http" | "https" | "socks5" | "socks5h" if url.has_host() => Ok(Some(url)),
                "http" | "https" | "socks5" | "socks5h" => Err("it needs a host".to_owned()),
                _ => Err("the scheme must be http, https, socks5 or socks5h".to_owned()),
            }
        },
    )?
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults<'_> = Defaults {
        scheme: "http",
        port: 9200,
        path: "",
    };

    fn read(text: &str) -> String {
        base_url(text, DEFAULTS).unwrap().0.to_string()
    }

    #[test]
    fn fills_in_what_is_left_out() {
        assert_eq!(read("es1"), "http://es1:9200/");
        assert_eq!(read("es1:1234"), "http://es1:1234/");
        assert_eq!(read("https://es1"), "https://es1:9200/");
        assert_eq!(read("https://es1:443/x"), "https://es1/x/");
        assert_eq!(read("http://es1:80"), "http://es1/");
        assert_eq!(read("::1"), "http://[::1]:9200/");
        assert_eq!(read("[::1]:7"), "http://[::1]:7/");
        let defaults = Defaults {
            scheme: "https",
            port: 9200,
            path: "/es",
        };
        assert_eq!(
            base_url("es1", defaults).unwrap().0.as_str(),
            "https://es1:9200/es/"
        );
        assert_eq!(
            base_url("http://es1/own", defaults).unwrap().0.as_str(),
            "http://es1:9200/own/"
        );
    }

    #[test]
    fn takes_the_user_out() {
        let (url, user) = base_url("http://elastic:p%40ss@es1", DEFAULTS).unwrap();
        assert_eq!(url.as_str(), "http://es1:9200/");
        let user = user.unwrap();
        assert_eq!(user.username, "elastic");
        assert_eq!(user.password.unwrap().expose(), "p@ss");
    }

    #[test]
    fn refuses_what_is_no_base_url() {
        for text in ["", "ftp://x", "http://", "http://x?y=1", "x y", "http://x:99999"] {
            assert!(base_url(text, DEFAULTS).is_err(), "{text}");
        }
    }
}
