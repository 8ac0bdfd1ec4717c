//! Tests of [`super`]: plain, with TLS, through a proxy, and what errors say.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::Secret;
use crate::steps::tests::Told;

fn at(port: u16) -> HostPort {
    HostPort {
        host: "localhost".to_owned(),
        port,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn plain(proxy: Option<&Socks>) -> Dialer {
    Dialer::new(&Ssl::default(), false, proxy).unwrap()
}

#[tokio::test]
async fn a_plain_connection_and_its_steps() {
    let (listener, port) = listener().await;
    let told = Told::default();
    let mut steps = Steps::told(told.clone(), false);
    let mut stream = plain(None)
        .dial(&at(port), false, soon(), &mut steps)
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    let text = told.text();
    assert!(
        text.starts_with("connection...\n  parse host... OK\n  dns lookup... OK\n  addresses: "),
        "{text}"
    );
    assert!(
        text.ends_with("  dial up... OK\nTLS... WARN secure connection disabled\n"),
        "{text}"
    );
}

#[tokio::test]
async fn errors_name_the_host() {
    let (listener, port) = listener().await;
    drop(listener);
    let error = plain(None)
        .dial(&at(port), false, soon(), &mut Steps::untold())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("localhost:{port}: ")) && text.contains("refused"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_swallows_everything_ends_with_the_time() {
    // A listener whose queue is full answers to nobody; TLS to one that says nothing is the same and portable.
    let (_listener, port) = listener().await;
    let ssl = Ssl {
        verification_mode: VerificationMode::None,
        ..Ssl::default()
    };
    let dialer = Dialer::new(&ssl, true, None).unwrap();
    let error = dialer
        .dial(&at(port), true, soon(), &mut Steps::untold())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no TLS connection in time"), "{error}");
}

fn server(name: &str) -> (TlsAcceptor, String) {
    let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let ssl = Ssl {
        certificate: Some(own.cert.pem()),
        key: Some(Secret::new(own.signing_key.serialize_pem())),
        ..Ssl::default()
    };
    let config = tls::server_config(&ssl).unwrap();
    (TlsAcceptor::from(Arc::new(config)), own.cert.pem())
}

#[tokio::test]
async fn tls_with_a_private_authority_and_its_summary() {
    let (acceptor, pem) = server("localhost");
    let (listener, port) = listener().await;
    let ssl = Ssl {
        certificate_authorities: vec![pem],
        ..Ssl::default()
    };
    let dialer = Dialer::new(&ssl, true, None).unwrap();
    let told = Told::default();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.unwrap()
    };
    let mut steps = Steps::told(told.clone(), false);
    let host = at(port);
    let (reached, _server) = tokio::join!(dialer.dial(&host, true, soon(), &mut steps), serve);
    reached.unwrap();
    let text = told.text();
    for part in [
        "TLS...\n  security: server's certificate chain verification is enabled\n  handshake... OK\n",
        "  TLS version: TLSv1.3\n",
        "  certificates presented: 1\n",
        "  certificate subject: CN=rcgen self signed cert\n",
        "  certificate valid until: ",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_with_advice() {
    let (acceptor, _) = server("localhost");
    let (_, other) = server("localhost");
    let (listener, port) = listener().await;
    let ssl = Ssl {
        certificate_authorities: vec![other],
        ..Ssl::default()
    };
    let dialer = Dialer::new(&ssl, true, None).unwrap();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.err()
    };
    let host = at(port);
    let mut steps = Steps::untold();
    let (reached, _) = tokio::join!(dialer.dial(&host, true, soon(), &mut steps), serve);
    let text = reached.unwrap_err().to_string();
    assert!(text.contains("ssl.certificate_authorities"), "{text}");
}

/// A SOCKS5 proxy that takes one connection, wants a user, and gives the target it was asked for. Then it is the
/// target itself.
async fn socks(listener: &TcpListener) -> (String, TcpStream) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await.unwrap();
    let mut methods = vec![0; usize::from(greeting[1])];
    client.read_exact(&mut methods).await.unwrap();
    assert!(methods.contains(&2), "a user was to be offered: {methods:?}");
    client.write_all(&[5, 2]).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), 1);
    let mut texts = Vec::new();
    for _ in 0..2 {
        let mut text = vec![0; usize::from(client.read_u8().await.unwrap())];
        client.read_exact(&mut text).await.unwrap();
        texts.push(String::from_utf8(text).unwrap());
    }
    assert_eq!(texts, ["me", "secret"]);
    client.write_all(&[1, 0]).await.unwrap();
    let mut request = [0; 4];
    client.read_exact(&mut request).await.unwrap();
    let name = match request[3] {
        1 => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip).await.unwrap();
            std::net::Ipv4Addr::from(ip).to_string()
        }
        3 => {
            let mut name = vec![0; usize::from(client.read_u8().await.unwrap())];
            client.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        }
        other => panic!("address of kind {other}"),
    };
    let port = client.read_u16().await.unwrap();
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    (format!("{name}:{port}"), client)
}

#[tokio::test]
async fn through_a_proxy_names_are_resolved_there_unless_told() {
    let (listener, port) = listener().await;
    for (local_resolver, host, asked) in [
        (false, "no.such.host.invalid", "no.such.host.invalid:5044"),
        (true, "127.0.0.1", "127.0.0.1:5044"),
    ] {
        let proxy = Socks {
            at: at(port),
            username: Some("me".to_owned()),
            password: Some(Secret::new("secret".to_owned())),
            local_resolver,
        };
        let dialer = plain(Some(&proxy));
        let host = HostPort {
            host: host.to_owned(),
            port: 5044,
        };
        let mut steps = Steps::untold();
        let (reached, (target, mut server)) =
            tokio::join!(dialer.dial(&host, false, soon(), &mut steps), socks(&listener));
        assert_eq!(target, asked);
        reached.unwrap().write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        assert!(!format!("{dialer:?}").contains("secret"));
    }
}
