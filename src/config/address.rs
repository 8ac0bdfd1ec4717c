//! The address of a server: `host`, `host:port`, `[IPv6]:port`, or a bare IPv6 address.

use std::fmt;
use std::net::Ipv6Addr;

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Name, IPv4 or IPv6 address; IPv6 without brackets.
    pub host: String,
    /// The default of what is there unless given.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("leave the scheme and the path out: host:port is all that is needed")]
    Url,
    #[error("the port must be a number from 1 to 65535")]
    Port,
    #[error("between [ and ] an IPv6 address is expected")]
    Ipv6,
    #[error("it is no host name and no IP address")]
    Host,
}

/// Reads an address, with `default` for one without a port; names are lower-cased, so that doubles are seen.
pub(super) fn parse(text: &str, default: u16) -> Result<HostPort, AddressError> {
    let text = text.trim();
    if text.contains('/') {
        return Err(AddressError::Url);
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(HostPort {
            host: address.to_string(),
            port: default,
        });
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(AddressError::Ipv6)?;
        let host = host
            .parse::<Ipv6Addr>()
            .map_err(|_| AddressError::Ipv6)?
            .to_string();
        let port = match port {
            "" => default,
            port => parse_port(port.strip_prefix(':').ok_or(AddressError::Port)?)?,
        };
        return Ok(HostPort { host, port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, default),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(allowed) {
        return Err(AddressError::Host);
    }
    Ok(HostPort {
        host: host.to_ascii_lowercase(),
        port,
    })
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port > 0)
        .ok_or(AddressError::Port)
}

impl fmt::Display for HostPort {
    /// `host:port`, IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, shown) in [
            ("10.1.83.51", "10.1.83.51:4443"),
            (" ECS1.example.com:443 ", "ecs1.example.com:443"),
            ("::1", "[::1]:4443"),
            ("[::1]", "[::1]:4443"),
            ("[2001:db8:0::1]:9443", "[2001:db8::1]:9443"),
        ] {
            assert_eq!(parse(text, 4443).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for (text, error) in [
            ("https://10.1.83.51:4443", AddressError::Url),
            ("host:port", AddressError::Port),
            ("host:0", AddressError::Port),
            ("host:+5", AddressError::Port),
            ("[::1]4443", AddressError::Port),
            ("[host]:4443", AddressError::Ipv6),
            ("", AddressError::Host),
            ("a b", AddressError::Host),
            ("user@host", AddressError::Host),
        ] {
            assert_eq!(parse(text, 4443), Err(error), "{text}");
        }
    }
}
