//! The life of one connection: request, answer, and so on until one side has enough. Owns the writing of
//! answers in the manner asked for; must never keep a body in memory twice, nor outlive its stop token.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::reply::{Body, BreakOff, Framing, Reply, Silence};
use super::request::{self, ReadError, Request};
use super::{Manner, Service};

const BLOCK: usize = 32 * 1024;

/// The bounds of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The largest body of a request, in bytes.
    pub(crate) max_body: usize,
    /// How long a connection may be silent between two requests.
    pub(crate) idle: Duration,
}

/// A byte stream that can end with a reset.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming close a reset.
    fn reset_on_close(&self);
}

enum After {
    Continue,
    Close,
    Reset,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 4 * 1024 * 1024,
            idle: Duration::from_secs(120),
        }
    }
}

// === impl Wire ===

impl Wire for TcpStream {
    fn reset_on_close(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Wire for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

/// Takes connections in and serves each in a task of its own, until `stop`.
pub(crate) async fn accept_all<S: Service + 'static>(
    listener: TcpListener,
    service: Arc<S>,
    limits: Limits,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (service, limits, stop) = (Arc::clone(&service), limits.clone(), stop.clone());
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, &*service, &limits) => {}
            }
        });
    }
}

/// Serves the connection to its end. May be dropped at any time.
pub(crate) async fn serve<W: Wire>(mut wire: W, service: &impl Service, limits: &Limits) {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    let mut served = 0;
    loop {
        let Ok(read) = timeout(limits.idle, request::read(&mut wire, &mut buffer, limits)).await else {
            break;
        };
        let (reply, mut keep_alive, method) = match read {
            Ok(mut request) => {
                served += 1;
                request.nth_on_connection = served;
                let Request {
                    keep_alive,
                    ref method,
                    ..
                } = request;
                let method = method.clone();
                (service.call(request).await, keep_alive, method)
            }
            Err(ReadError::Closed | ReadError::Broken) => break,
            Err(ReadError::Refused(status)) => (Reply::new(status, "text/plain", ""), false, String::new()),
        };
        keep_alive &= !reply.manner.close;
        match write(&mut wire, &reply, keep_alive, method == "HEAD").await {
            Ok(After::Continue) if keep_alive => {}
            Ok(After::Continue | After::Close) | Err(_) => break,
            Ok(After::Reset) => {
                wire.reset_on_close();
                return;
            }
        }
    }
    let _ = timeout(Duration::from_secs(1), wire.shutdown()).await;
}

async fn write<W: Wire>(wire: &mut W, reply: &Reply, keep_alive: bool, head_only: bool) -> io::Result<After> {
    let manner = &reply.manner;
    match manner.silence {
        Some(Silence::Hang) => {
            swallow(wire).await;
            return Ok(After::Close);
        }
        Some(Silence::Reset) => return Ok(After::Reset),
        None => {}
    }
    let head = reply.head(keep_alive && manner.framing != Framing::UntilClose);
    if let Some(total) = manner.slow_headers {
        write_slowly(wire, head.as_bytes(), total).await?;
    } else if let (Body::Whole(body), true) = (&reply.body, is_plain(manner)) {
        let mut all = BytesMut::with_capacity(head.len() + body.len());
        all.extend_from_slice(head.as_bytes());
        if !head_only {
            all.extend_from_slice(body);
        }
        wire.write_all(&all).await?;
        wire.flush().await?;
        return Ok(After::Continue);
    } else {
        wire.write_all(head.as_bytes()).await?;
    }
    wire.flush().await?;
    if head_only {
        return Ok(After::Continue);
    }
    let limit = manner
        .break_off
        .map(|cut| reply.body.length() * u64::from(cut.percent.min(100)) / 100);
    write_body(wire, reply, limit.unwrap_or(u64::MAX)).await?;
    match manner.break_off {
        Some(BreakOff { reset: true, .. }) => {
            // What was sent should arrive before the reset does.
            sleep(Duration::from_millis(20)).await;
            return Ok(After::Reset);
        }
        Some(_) => return Ok(After::Close),
        None => {}
    }
    if manner.framing == Framing::Chunked {
        wire.write_all(b"0\r\n\r\n").await?;
    }
    wire.flush().await?;
    Ok(if manner.framing == Framing::UntilClose {
        After::Close
    } else {
        After::Continue
    })
}

fn is_plain(manner: &Manner) -> bool {
    manner.framing == Framing::Length && manner.break_off.is_none() && manner.dribble.is_none()
}

async fn write_slowly<W: Wire>(wire: &mut W, bytes: &[u8], total: Duration) -> io::Result<()> {
    let pieces = 10;
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        wire.write_all(piece).await?;
        wire.flush().await?;
        sleep(total / 10).await;
    }
    Ok(())
}

async fn write_body<W: Wire>(wire: &mut W, reply: &Reply, mut limit: u64) -> io::Result<()> {
    match &reply.body {
        Body::Whole(bytes) => write_part(wire, &reply.manner, bytes, &mut limit).await,
        Body::Inflated { head, filling, tail } => {
            let block = Bytes::from(vec![b'x'; BLOCK]);
            write_part(wire, &reply.manner, head, &mut limit).await?;
            let mut left = *filling;
            while left > 0 {
                let size = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
                write_part(wire, &reply.manner, &block[..size], &mut limit).await?;
                left -= size as u64;
            }
            write_part(wire, &reply.manner, tail, &mut limit).await
        }
    }
}

async fn write_part<W: Wire>(wire: &mut W, manner: &Manner, bytes: &[u8], limit: &mut u64) -> io::Result<()> {
    let allowed = usize::try_from(*limit).unwrap_or(usize::MAX).min(bytes.len());
    *limit -= allowed as u64;
    let step = manner.dribble.map_or(BLOCK, |dribble| dribble.bytes.max(1));
    for piece in bytes[..allowed].chunks(step) {
        if manner.framing == Framing::Chunked {
            wire.write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                .await?;
            wire.write_all(piece).await?;
            wire.write_all(b"\r\n").await?;
        } else {
            wire.write_all(piece).await?;
        }
        if let Some(dribble) = manner.dribble {
            wire.flush().await?;
            sleep(dribble.pause).await;
        }
    }
    wire.flush().await
}

/// Reads and forgets until the peer gives up.
async fn swallow<W: Wire>(wire: &mut W) {
    let mut buffer = [0; 1024];
    while wire.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Dribble, HeaderCase};

    struct Fixed(Manner);

    impl Service for Fixed {
        async fn call(&self, request: Request) -> Reply {
            let mut reply = Reply::new(
                200,
                "text/plain",
                format!("request {}", request.nth_on_connection),
            );
            reply.manner = self.0.clone();
            reply
        }
    }

    /// What a client sees that sends two requests in one go.
    async fn exchange(manner: Manner) -> (Vec<u8>, Option<io::ErrorKind>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, &Fixed(manner), &Limits::default()).await;
        };
        let asking = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let twice = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n";
            stream.write_all(twice).await.unwrap();
            let mut seen = Vec::new();
            let end = stream.read_to_end(&mut seen).await;
            (seen, end.err().map(|error| error.kind()))
        };
        tokio::join!(serving, asking).1
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[tokio::test]
    async fn two_requests_share_a_connection() {
        let (seen, error) = exchange(Manner::default()).await;
        assert!(
            text(&seen).contains("request 1HTTP/1.1 200 OK"),
            "{}",
            text(&seen)
        );
        assert!(text(&seen).ends_with("request 2"));
        assert_eq!(error, None);
    }

    #[tokio::test]
    async fn a_body_breaks_off_with_a_close_or_a_reset() {
        let cut = |reset| Manner {
            break_off: Some(BreakOff { percent: 50, reset }),
            ..Manner::default()
        };
        let (seen, error) = exchange(cut(false)).await;
        assert!(text(&seen).contains("Content-Length: 9"));
        assert!(text(&seen).ends_with("\r\n\r\nrequ"));
        assert_eq!(error, None);
        let (_, error) = exchange(cut(true)).await;
        assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn chunks_dribble_and_slow_headers_keep_the_text_whole() {
        let manner = Manner {
            framing: Framing::Chunked,
            dribble: Some(Dribble {
                bytes: 5,
                pause: Duration::from_millis(1),
            }),
            slow_headers: Some(Duration::from_millis(20)),
            header_case: HeaderCase::Upper,
            close: true,
            ..Manner::default()
        };
        let (seen, _) = exchange(manner).await;
        assert!(text(&seen).contains("TRANSFER-ENCODING: chunked"));
        assert!(
            text(&seen).ends_with("5\r\nreque\r\n4\r\nst 1\r\n0\r\n\r\n"),
            "{}",
            text(&seen)
        );
    }
}
