//! The head of a request (RFC 9112, as far as a tracker needs it): method, target, and the few
//! headers that matter. Bytes that a target may not hold are taken as they are: some send an
//! info-hash raw.

use std::net::IpAddr;
use thiserror::Error;

/// The longest head of a request, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;
/// Headers of one request.
const MAX_HEADERS: usize = 64;

/// What a request says before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// `GET`, in a request that a tracker answers.
    pub method: &'a [u8],
    /// The path, raw, without the query. Begins with `/`.
    pub path: &'a [u8],
    /// What stands behind the first `?`, raw.
    pub query: &'a [u8],
    /// The connection is to stay open.
    pub keep_alive: bool,
    /// A body follows, which no tracker reads.
    pub body: bool,
    /// The last address in `X-Forwarded-For`, or `X-Real-IP`: whom the next host on the way speaks
    /// for.
    pub forwarded: Option<IpAddr>,
    /// Bytes of the head, with the empty line.
    pub len: usize,
}

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// It does not end in time.
    #[error("the head of the request is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// It has too many headers.
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooMany,
    /// It is no HTTP/1.
    #[error("this is no request of HTTP/1")]
    NotHttp,
    /// A line that is no header: without a colon, folded, or with a blank before the colon. Whoever
    /// reads such a line in another way sees other requests (RFC 9112, section 5).
    #[error("a line of the request is no header; expected `Name: value`")]
    NoHeader,
    /// A length that is no number, or two of them that differ (RFC 9112, section 6.3).
    #[error("the length of the request's body is no number, or there are two")]
    Length,
}

impl<'a> Head<'a> {
    /// Reads the head at the start of `input`; `None` while its end has not come. `seen` bytes were
    /// looked at before, in vain.
    ///
    /// # Errors
    /// If it never will be one.
    pub fn parse(input: &'a [u8], seen: usize) -> Result<Option<Head<'a>>, HeadError> {
        let from = seen.saturating_sub(3).min(input.len());
        let tail = input.get(from..).unwrap_or_default();
        let Some(end) = tail.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return if input.len() >= MAX_HEAD { Err(HeadError::TooLong) } else { Ok(None) };
        };
        let len = from + end + 4;
        if len > MAX_HEAD {
            return Err(HeadError::TooLong);
        }
        let text = input.get(..len - 4).unwrap_or_default();
        let mut lines = text.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut head = request_line(first.strip_suffix(b"\r").unwrap_or(first))?;
        head.len = len;
        let mut more = More::default();
        for (index, line) in lines.enumerate() {
            if index == MAX_HEADERS {
                return Err(HeadError::TooMany);
            }
            header(&mut head, &mut more, line.strip_suffix(b"\r").unwrap_or(line))?;
        }
        head.forwarded = head.forwarded.or(more.real);
        head.body |= more.length.is_some_and(|length| length > 0);
        Ok(Some(head))
    }
}

/// `GET /announce?info_hash=… HTTP/1.1`: the target is everything between the first space and the
/// last.
fn request_line(line: &[u8]) -> Result<Head<'_>, HeadError> {
    let space = |byte: &u8| *byte == b' ';
    let first = line.iter().position(space).ok_or(HeadError::NotHttp)?;
    let last = line.iter().rposition(space).filter(|last| *last > first);
    let last = last.ok_or(HeadError::NotHttp)?;
    let method = line.get(..first).unwrap_or_default();
    let target = line.get(first + 1..last).unwrap_or_default();
    let keep_alive = match line.get(last + 1..).unwrap_or_default() {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(HeadError::NotHttp),
    };
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(HeadError::NotHttp);
    }
    // What a proxy would be asked for names the host, too.
    let target = match target.strip_prefix(b"http://") {
        Some(rest) => rest.iter().position(|byte| *byte == b'/').and_then(|at| rest.get(at..)),
        None => Some(target),
    };
    let target = target.filter(|target| target.first() == Some(&b'/')).ok_or(HeadError::NotHttp)?;
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    Ok(Head {
        method,
        path: target.get(..end).unwrap_or_default(),
        query: target.get(end + 1..).unwrap_or_default(),
        keep_alive,
        body: false,
        forwarded: None,
        len: 0,
    })
}

/// What headers say that counts only once all are read.
#[derive(Default)]
struct More {
    real: Option<IpAddr>,
    length: Option<u64>,
}

fn header(head: &mut Head<'_>, more: &mut More, line: &[u8]) -> Result<(), HeadError> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(HeadError::NoHeader)?;
    let name = line.get(..colon).unwrap_or_default();
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(HeadError::NoHeader);
    }
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("connection") {
        let word = |word: &[u8]| word.trim_ascii().to_ascii_lowercase();
        for word in value.split(|byte| *byte == b',').map(word) {
            match word.as_slice() {
                b"close" => head.keep_alive = false,
                b"keep-alive" => head.keep_alive = true,
                _ => {}
            }
        }
    } else if is("content-length") {
        let length = number(value).ok_or(HeadError::Length)?;
        if more.length.replace(length).is_some_and(|other| other != length) {
            return Err(HeadError::Length);
        }
    } else if is("transfer-encoding") {
        head.body = true;
    } else if is("x-forwarded-for") {
        // The last one is what the host that we trust has seen itself.
        head.forwarded = value.rsplit(|byte| *byte == b',').next().and_then(address);
    } else if is("x-real-ip") {
        more.real = address(value);
    }
    Ok(())
}

/// Whether a name may hold a byte (RFC 9110, section 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// A length: digits alone. One beyond every number is as good as the largest.
fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// An address as proxies write it, maybe with a port or brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    let alone = text.parse::<IpAddr>().ok();
    alone.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()))
}
