//! Requests and how they are read off the wire, within bounds. Must never allocate more than the limits allow.

use bytes::{Buf as _, Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Limits;

const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 96;

/// One request, read to its end.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path as sent, not decoded.
    pub(crate) path: String,
    /// The query as sent, without the question mark.
    pub(crate) raw_query: String,
    pub(crate) query: Query,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// How many requests this connection has carried, this one included.
    pub(crate) nth_on_connection: u32,
    pub(crate) keep_alive: bool,
}

/// The decoded pairs of a query.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(Vec<(String, String)>);

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The peer closed between requests.
    Closed,
    /// The peer broke off, or the socket failed.
    Broken,
    /// The request breaks a rule or a bound; the status to answer.
    Refused(u16),
}

struct Head {
    request: Request,
    framing: BodyFraming,
    wants_continue: bool,
}

enum BodyFraming {
    Length(usize),
    Chunked,
}

// === impl Query ===

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.get(key).and_then(|value| value.parse().ok())
    }

    /// All values of a key that may be repeated.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

// === impl Request ===

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the next request; `buffer` keeps what came after it.
pub(super) async fn read<S>(
    stream: &mut S,
    buffer: &mut BytesMut,
    limits: &Limits,
) -> Result<Request, ReadError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = loop {
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
        if buffer.len() > MAX_HEAD {
            return Err(ReadError::Refused(431));
        }
        let idle = buffer.is_empty();
        match stream.read_buf(buffer).await {
            Ok(0) if idle => return Err(ReadError::Closed),
            Ok(0) | Err(_) => return Err(ReadError::Broken),
            Ok(_) => {}
        }
    };
    if head.wants_continue {
        let sent = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        sent.and(stream.flush().await).map_err(|_| ReadError::Broken)?;
    }
    head.request.body = match head.framing {
        BodyFraming::Length(length) if length > limits.max_body => return Err(ReadError::Refused(413)),
        BodyFraming::Length(length) => {
            fill(stream, buffer, length).await?;
            buffer.split_to(length).freeze()
        }
        BodyFraming::Chunked => read_chunked(stream, buffer, limits.max_body).await?,
    };
    Ok(head.request)
}

async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    length: usize,
) -> Result<(), ReadError> {
    while buffer.len() < length {
        buffer.reserve(length - buffer.len());
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(ReadError::Broken),
            Ok(_) => {}
        }
    }
    Ok(())
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<String, ReadError> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if buffer.len() > MAX_HEAD {
            return Err(ReadError::Refused(400));
        }
        let wanted = buffer.len() + 1;
        fill(stream, buffer, wanted).await?;
    }
}

async fn read_chunked<S>(stream: &mut S, buffer: &mut BytesMut, max: usize) -> Result<Bytes, ReadError>
where
    S: AsyncRead + Unpin,
{
    let mut body = BytesMut::new();
    loop {
        let line = read_line(stream, buffer).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| ReadError::Refused(400))?;
        if body.len().saturating_add(size) > max {
            return Err(ReadError::Refused(413));
        }
        if size == 0 {
            while !read_line(stream, buffer).await?.is_empty() {}
            return Ok(body.freeze());
        }
        fill(stream, buffer, size + 2).await?;
        body.extend_from_slice(&buffer[..size]);
        buffer.advance(size + 2);
    }
}

fn parse_head(buffer: &mut BytesMut) -> Result<Option<Head>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ReadError::Refused(400)),
    };
    let target = parsed.path.unwrap_or("/");
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        raw_query: raw_query.to_owned(),
        query: Query::parse(raw_query),
        headers: Vec::with_capacity(parsed.headers.len()),
        body: Bytes::new(),
        nth_on_connection: 0,
        keep_alive: parsed.version == Some(1),
    };
    for header in parsed.headers.iter() {
        request.headers.push((
            header.name.to_owned(),
            String::from_utf8_lossy(header.value).into_owned(),
        ));
    }
    let framing = match (
        request.header("transfer-encoding"),
        request.header("content-length"),
    ) {
        (Some(_), _) => BodyFraming::Chunked,
        (None, Some(text)) => BodyFraming::Length(text.trim().parse().map_err(|_| ReadError::Refused(400))?),
        (None, None) => BodyFraming::Length(0),
    };
    match request.header("connection") {
        Some(value) if value.eq_ignore_ascii_case("close") => request.keep_alive = false,
        Some(value) if value.eq_ignore_ascii_case("keep-alive") => request.keep_alive = true,
        _ => {}
    }
    let wants_continue = request
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    buffer.advance(length);
    Ok(Some(Head {
        request,
        framing,
        wants_continue,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_from(text: &[u8], max_body: usize) -> Result<Request, ReadError> {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let limits = Limits {
            max_body,
            ..Limits::default()
        };
        let mut buffer = BytesMut::new();
        let writing = async {
            client.write_all(text).await.unwrap();
            client.shutdown().await.unwrap();
        };
        tokio::join!(writing, read(&mut server, &mut buffer, &limits)).1
    }

    #[tokio::test]
    async fn a_chunked_body_is_put_together() {
        let text = b"POST /a%20b.json?x=1%2F2&y&x=2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;q=1\r\nde\r\n0\r\n\r\n";
        let request = read_from(text, 100).await.unwrap();
        assert_eq!(request.body, "abcde");
        assert_eq!(request.query.get("x"), Some("1/2"));
        assert_eq!(request.query.all("x").count(), 2);
        assert!(request.query.has("y"));
        assert!(request.keep_alive);
    }

    #[tokio::test]
    async fn bounds_are_kept() {
        let long = b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n";
        assert!(matches!(read_from(long, 100).await, Err(ReadError::Refused(413))));
        assert!(matches!(
            read_from(b"nonsense\r\n\r\n", 100).await,
            Err(ReadError::Refused(400))
        ));
        assert!(matches!(read_from(b"", 100).await, Err(ReadError::Closed)));
        assert!(matches!(
            read_from(b"GET / HT", 100).await,
            Err(ReadError::Broken)
        ));
    }
}
