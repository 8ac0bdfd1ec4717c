//! TLS, and certificates of clients.

use ecsbeat::clock::Clock;
use ecsbeat::config::{Etcd as Config, Secret, Ssl, VerificationMode};
use ecsbeat::dcs::etcd::EtcdStore;
use ecsbeat::dcs::{DcsError, Request, Response};
use ecsbeat::telemetry::metrics::Metrics;
use etcd_client::Permission;

use super::watch::Watching;
use super::{PROBE, always, ask, delete, get, grant, put, read, txn};
use crate::support::authority::{Authority, Pair};
use crate::support::etcd::{Builder, Etcd};

/// An etcd with a certificate of `authority` for its address, or for another name.
pub(crate) fn server(authority: &Authority, name: Option<&str>) -> Builder {
    let builder = Builder::new(1).https();
    let own = builder.ip().to_string();
    let server = authority.issue("etcd", &[name.unwrap_or(&own)]);
    builder
        .file("server.pem", &server.certificate)
        .file("server.key", &server.key)
        .argument("--cert-file={dir}/server.pem")
        .argument("--key-file={dir}/server.key")
}

/// It asks clients for certificates of `clients`.
pub(crate) fn asking(builder: Builder, clients: &Authority) -> Builder {
    builder
        .file("clients.pem", &clients.pem())
        .argument("--client-cert-auth=true")
        .argument("--trusted-ca-file={dir}/clients.pem")
}

fn store(etcd: &Etcd, ssl: Ssl) -> EtcdStore {
    super::store(&Config { ssl, ..etcd.config() })
}

fn trusting(authority: &Authority) -> Ssl {
    Ssl {
        certificate_authorities: vec![authority.pem()],
        ..Ssl::default()
    }
}

fn presenting(pair: &Pair, authority: &Authority) -> Ssl {
    Ssl {
        certificate: Some(pair.certificate.clone()),
        key: Some(Secret::new(&*pair.key)),
        ..trusting(authority)
    }
}

/// Requests of each kind and a watch work.
async fn works(etcd: &Etcd, ssl: Ssl) {
    let ours = store(etcd, ssl.clone());
    let mut watching = Watching::start(store(etcd, ssl));
    watching.changed().await;
    let lease = grant(&ours, 10).await;
    assert!(matches!(
        ask(&ours, Request::Renew(lease)).await,
        Ok(Response::Renewed(Some(_)))
    ));
    txn(&ours, always(vec![put("leader", "a", lease)])).await;
    assert_eq!(read(&ours, "leader").await, ["a"]);
    txn(&ours, always(vec![delete("leader")])).await;
    watching.deleted(&["leader"]).await;
}

/// Nobody is talked to; what is said names the host and has `words` in it.
async fn fails(etcd: &Config, words: &str) {
    let store = super::store(etcd);
    match ask(&store, always(vec![get("leader")])).await {
        Err(DcsError::Unanswered(said)) => {
            let host = etcd.hosts[0].as_str().trim_end_matches('/');
            assert!(said.contains(words) && said.starts_with(host), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_and_others_are_not() {
    let authority = Authority::new("ours");
    let etcd = server(&authority, None).start().await;
    works(&etcd, trusting(&authority)).await;
    let wrong = trusting(&Authority::new("another"));
    fails(
        &Config {
            ssl: wrong,
            ..etcd.config()
        },
        "ssl.certificate_authorities",
    )
    .await;
}

#[tokio::test]
async fn the_name_is_checked_unless_told_otherwise() {
    let authority = Authority::new("ours");
    let etcd = server(&authority, Some("etcd.example.com")).start().await;
    let mode = |verification_mode| Ssl {
        verification_mode,
        ..trusting(&authority)
    };
    let full = mode(VerificationMode::Full);
    fails(
        &Config {
            ssl: full,
            ..etcd.config()
        },
        "another name",
    )
    .await;
    works(&etcd, mode(VerificationMode::Certificate)).await;
    let unknown = Ssl {
        verification_mode: VerificationMode::None,
        ..trusting(&Authority::new("another"))
    };
    works(&etcd, unknown).await;
}

#[tokio::test]
async fn clients_show_their_certificates() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let etcd = asking(server(&authority, None), &clients).start().await;
    let pair = clients.issue("ecsbeat", &[]);
    works(&etcd, presenting(&pair, &authority)).await;
    // The same out of files.
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let files = Ssl {
        certificate_authorities: vec![file("ca.pem", &authority.pem())],
        certificate: Some(file("client.pem", &pair.certificate)),
        key: Some(Secret::new(file("client.key", &pair.key))),
        ..Ssl::default()
    };
    works(&etcd, files).await;
    let without = trusting(&authority);
    fails(
        &Config {
            ssl: without,
            ..etcd.config()
        },
        "ssl.certificate",
    )
    .await;
    let strange = presenting(&Authority::new("strangers").issue("ecsbeat", &[]), &authority);
    fails(
        &Config {
            ssl: strange,
            ..etcd.config()
        },
        "ssl.certificate",
    )
    .await;
}

/// The name in the certificate is the user.
#[tokio::test]
async fn a_certificate_stands_for_a_user() {
    let authority = Authority::new("ours");
    let etcd = asking(server(&authority, None), &authority).start().await;
    let mut administrator = etcd.administrator(None).await;
    let _ = administrator.role_add("root").await;
    administrator.user_add("root", "root", None).await.unwrap();
    administrator.user_grant_role("root", "root").await.unwrap();
    administrator.role_add("replica").await.unwrap();
    let allowed = Permission::read_write("/ecsbeat/prod/").with_prefix();
    administrator
        .role_grant_permission("replica", allowed)
        .await
        .unwrap();
    administrator
        .user_add("ecsbeat", "never told", None)
        .await
        .unwrap();
    administrator.user_grant_role("ecsbeat", "replica").await.unwrap();
    administrator.auth_enable().await.unwrap();
    let ssl = presenting(&authority.issue("ecsbeat", &[]), &authority);
    works(&etcd, ssl.clone()).await;
    let config = Config { ssl, ..etcd.config() };
    let other = EtcdStore::new(&config, "other", PROBE, Clock::system(), Metrics::new()).unwrap();
    let answer = ask(&other, always(vec![get("leader")])).await;
    assert!(
        matches!(&answer, Err(DcsError::Refused(said)) if said.contains("permission denied")),
        "{answer:?}"
    );
    let nobody = presenting(&authority.issue("nobody", &[]), &authority);
    let answer = ask(&store(&etcd, nobody), always(vec![get("leader")])).await;
    assert!(matches!(answer, Err(DcsError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn the_wrong_scheme_is_told() {
    let authority = Authority::new("ours");
    let etcd = server(&authority, None).start().await;
    let mut plain = etcd.config();
    plain.hosts[0].set_scheme("http").unwrap();
    fails(&plain, "https://").await;
    let bare = Etcd::start(1).await;
    let mut secure = bare.config();
    secure.ssl = trusting(&authority);
    secure.hosts[0].set_scheme("https").unwrap();
    fails(&secure, "http://").await;
}
