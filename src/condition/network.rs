//! Which addresses lie in a network.
//!
//! Owns the named ranges, with the meaning that Go's `net` package and Beats give them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{IpNetwork, NamedNetwork};

/// Whether `address` lies in `network`. An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the
/// IPv4 address.
pub(super) fn contains(network: IpNetwork, address: IpAddr) -> bool {
    let address = address.to_canonical();
    match network {
        IpNetwork::Named(named) => is_named(named, address),
        IpNetwork::Cidr {
            address: base,
            prefix,
        } => match (base.to_canonical(), address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                begins_alike(base.to_bits().into(), address.to_bits().into(), 32, prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                begins_alike(base.to_bits(), address.to_bits(), 128, prefix)
            }
            _ => false,
        },
    }
}

/// Whether the first `prefix` of `width` bits are the same.
fn begins_alike(a: u128, b: u128, width: u32, prefix: u8) -> bool {
    let rest = width.saturating_sub(u32::from(prefix));
    // All bits are rest: a shift by all of them is none in Rust.
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}

fn is_named(named: NamedNetwork, address: IpAddr) -> bool {
    match named {
        NamedNetwork::Loopback => address.is_loopback(),
        NamedNetwork::Unicast => {
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && !is_broadcast(address)
                && !is_link_local(address)
        }
        NamedNetwork::LinkLocalUnicast => is_link_local(address),
        NamedNetwork::Multicast => address.is_multicast(),
        NamedNetwork::InterfaceLocalMulticast => has_scope(address, 1),
        NamedNetwork::LinkLocalMulticast => is_link_local_multicast(address),
        NamedNetwork::Private => is_private(address),
        NamedNetwork::Public => {
            !is_private(address)
                && !address.is_loopback()
                && !address.is_unspecified()
                && !is_broadcast(address)
                && !is_link_local(address)
                && !is_link_local_multicast(address)
                && !has_scope(address, 1)
        }
        NamedNetwork::Unspecified => address.is_unspecified(),
    }
}

/// RFC 1918, RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// 224.0.0.0/24 (RFC 5771), and the scope 2 of RFC 4291.
fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(_) => has_scope(address, 2),
    }
}

/// Whether it is an IPv6 multicast address of this scope.
fn has_scope(address: IpAddr, scope: u8) -> bool {
    fn of(address: Ipv6Addr) -> Option<u8> {
        let [_, second, ..] = address.octets();
        address.is_multicast().then_some(second & 0x0f)
    }
    matches!(address, IpAddr::V6(address) if of(address) == Some(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_cidr(base: &str, prefix: u8, address: &str) -> bool {
        let address_of = |text: &str| text.parse().unwrap();
        let network = IpNetwork::Cidr {
            address: address_of(base),
            prefix,
        };
        contains(network, address_of(address))
    }

    #[test]
    fn a_prefix_counts_bits() {
        assert!(in_cidr("192.168.1.77", 24, "192.168.1.1"));
        assert!(!in_cidr("192.168.1.0", 24, "192.168.2.1"));
        assert!(in_cidr("10.0.0.0", 9, "10.127.255.255") && !in_cidr("10.0.0.0", 9, "10.128.0.0"));
        assert!(in_cidr("0.0.0.0", 0, "203.0.113.9") && in_cidr("::", 0, "2001:db8::1"));
        assert!(in_cidr("10.0.0.1", 32, "10.0.0.1") && !in_cidr("10.0.0.1", 32, "10.0.0.2"));
        assert!(
            in_cidr("2001:db8::", 33, "2001:db8:7fff::") && !in_cidr("2001:db8::", 33, "2001:db8:8000::")
        );
        assert!(in_cidr("2001:db8::1", 128, "2001:db8::1") && !in_cidr("::1", 128, "::2"));
        assert!(in_cidr("10.0.0.0", 8, "::ffff:10.1.2.3"));
        assert!(!in_cidr("0.0.0.0", 0, "::1") && !in_cidr("::", 0, "10.0.0.1"));
    }

    #[test]
    fn the_named_ranges_are_those_of_beats() {
        use NamedNetwork::{
            InterfaceLocalMulticast, LinkLocalMulticast, LinkLocalUnicast, Loopback, Multicast, Private,
            Public, Unicast, Unspecified,
        };
        let all = [
            Loopback,
            Unicast,
            LinkLocalUnicast,
            Multicast,
            InterfaceLocalMulticast,
            LinkLocalMulticast,
            Private,
            Public,
            Unspecified,
        ];
        let cases: [(&str, &[NamedNetwork]); 17] = [
            ("127.0.0.1", &[Loopback]),
            ("127.255.0.1", &[Loopback]),
            ("::1", &[Loopback]),
            ("10.1.2.3", &[Unicast, Private]),
            ("172.31.255.255", &[Unicast, Private]),
            ("172.32.0.0", &[Unicast, Public]),
            ("192.168.0.1", &[Unicast, Private]),
            ("fd00::1", &[Unicast, Private]),
            ("203.0.113.9", &[Unicast, Public]),
            ("2001:db8::1", &[Unicast, Public]),
            ("169.254.1.1", &[LinkLocalUnicast]),
            ("fe80::1", &[LinkLocalUnicast]),
            ("224.0.0.1", &[Multicast, LinkLocalMulticast]),
            ("239.1.1.1", &[Multicast, Public]),
            ("ff01::1", &[Multicast, InterfaceLocalMulticast]),
            ("ff02::1", &[Multicast, LinkLocalMulticast]),
            ("0.0.0.0", &[Unspecified]),
        ];
        for (address, want) in cases {
            for named in all {
                let got = contains(IpNetwork::Named(named), address.parse().unwrap());
                assert_eq!(got, want.contains(&named), "{address} in {named:?}");
            }
        }
        let nowhere = "255.255.255.255".parse().unwrap();
        assert!(
            all.iter()
                .all(|named| !contains(IpNetwork::Named(*named), nowhere))
        );
    }
}
