//! The addresses of this machine.
//!
//! Owns [`Addresses`], read from `/proc` and `/sys` as they are at that moment; loopback is left out. What cannot be
//! read is empty.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of every interface but loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 first.
    pub ip: Vec<IpAddr>,
    /// As the Elastic Common Schema writes them (RFC 7042): `00-25-96-12-34-56`.
    pub mac: Vec<String>,
}

impl Addresses {
    /// Reads them.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut ip: Vec<IpAddr> = ipv4(&text("/proc/net/fib_trie"))
            .into_iter()
            .map(IpAddr::V4)
            .collect();
        ip.extend(ipv6(&text("/proc/net/if_inet6")).into_iter().map(IpAddr::V6));
        let mut mac: Vec<String> = std::fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .filter_map(|interface| {
                let address = std::fs::read_to_string(interface.ok()?.path().join("address")).ok()?;
                hardware(address.trim())
            })
            .collect();
        mac.sort();
        mac.dedup();
        Self { ip, mac }
    }
}

/// The addresses that the routing table knows as this machine's: a line `|-- 10.0.0.5` and, below it, its kind.
fn ipv4(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut current = None;
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            current = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = current
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Six columns, of which the first is the address in 32 hexadecimal digits and the last the interface.
fn ipv6(if_inet6: &str) -> Vec<Ipv6Addr> {
    let addresses = if_inet6.lines().filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let bits = u128::from_str_radix(columns.next()?, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits))
    });
    addresses.filter(|address| !address.is_loopback()).collect()
}

/// Six or more bytes with colons; `None` where there is no address, as of loopback and tunnels.
fn hardware(address: &str) -> Option<String> {
    let is_address = address.contains(':') && address.chars().any(|c| c != ':' && c != '0');
    is_address.then(|| address.replace(':', "-").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 0.0.0.0\n        /0 universe UNICAST\n           |-- 10.1.0.0\n\
                    /16 link UNICAST\n           |-- 10.1.83.5\n              /32 host LOCAL\n           |-- 127.0.0.1\n\
                    /32 host LOCAL\n        |-- 10.1.255.255\n           /32 link BROADCAST\nLocal:\n           |-- 10.1.83.5\n\
                    /32 host LOCAL\n|-- x\n/32 host LOCAL\n";
        assert_eq!(ipv4(trie), [Ipv4Addr::new(10, 1, 83, 5)]);
        let inet6 = "20010db8000000000000000000000002 04 40 00 82     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\nx 04 40 00 82 eth1\n\n";
        assert_eq!(ipv6(inet6), ["2001:db8::2".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(
            hardware("02:fc:00:00:00:0a").as_deref(),
            Some("02-FC-00-00-00-0A")
        );
        assert_eq!(hardware("00:00:00:00:00:00"), None);
        assert_eq!(hardware(""), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let addresses = Addresses::read();
        assert!(addresses.ip.iter().all(|address| !address.is_loopback()));
        assert!(addresses.mac.iter().all(|mac| !mac.contains(':')));
    }
}
