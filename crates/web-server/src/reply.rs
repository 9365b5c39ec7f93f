//! A reply: what is to be sent, and how its head is written.
//!
//! Standards: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).

use std::borrow::Cow;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9110 and RFC 6585")]
pub enum Status {
    Ok = 200,
    PartialContent = 206,
    MovedPermanently = 301,
    NotModified = 304,
    BadRequest = 400,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    UriTooLong = 414,
    RangeNotSatisfiable = 416,
    ExpectationFailed = 417,
    RequestHeaderFieldsTooLarge = 431,
    InternalServerError = 500,
    NotImplemented = 501,
    ServiceUnavailable = 503,
    HttpVersionNotSupported = 505,
}

impl Status {
    /// The words that stand behind the number.
    pub fn reason(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::PartialContent => "Partial Content",
            Status::MovedPermanently => "Moved Permanently",
            Status::NotModified => "Not Modified",
            Status::BadRequest => "Bad Request",
            Status::Forbidden => "Forbidden",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::RequestTimeout => "Request Timeout",
            Status::UriTooLong => "URI Too Long",
            Status::RangeNotSatisfiable => "Range Not Satisfiable",
            Status::ExpectationFailed => "Expectation Failed",
            Status::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
            Status::InternalServerError => "Internal Server Error",
            Status::NotImplemented => "Not Implemented",
            Status::ServiceUnavailable => "Service Unavailable",
            Status::HttpVersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// What follows the head.
#[derive(Debug)]
pub enum Body {
    /// Nothing, and no Content-Length either.
    None,
    /// A text that was made for this reply.
    Text(String),
    /// So many bytes of a file, from an offset on.
    File {
        /// The file.
        file: OwnedFd,
        /// The first byte.
        start: u64,
        /// How many bytes.
        len: u64,
    },
}

/// What is to be sent.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: Status,
    /// Content-Type.
    pub media_type: Cow<'static, str>,
    /// Last-Modified, for a file.
    pub modified: Option<SystemTime>,
    /// What only some replies have.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// What follows the head.
    pub body: Body,
}

impl Reply {
    /// A text of some media type.
    pub fn text(status: Status, media_type: &'static str, text: String) -> Reply {
        let media_type = Cow::Borrowed(media_type);
        Reply { status, media_type, modified: None, headers: Vec::new(), body: Body::Text(text) }
    }

    /// A status that speaks for itself, with its words as the body.
    pub fn plain(status: Status) -> Reply {
        let text = format!("{} {}\n", status as u16, status.reason());
        let reply = Reply::text(status, "text/plain; charset=utf-8", text);
        match status {
            Status::MethodNotAllowed => reply.with("Allow", "GET, HEAD"),
            Status::ServiceUnavailable => reply.with("Retry-After", "1"),
            _ => reply,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// Writes the head, up to the empty line. `connection` is the Connection header, where one is due.
    pub fn write_head(&self, connection: Option<&str>, out: &mut Vec<u8>) {
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a Vec does not fail.
            let _ = write!(out, "{name}{value}\r\n");
        };
        line("HTTP/1.1 ", &format_args!("{} {}", self.status as u16, self.status.reason()));
        line("Date: ", &http_date(SystemTime::now()));
        // A browser must not take a text for a script because it looks like one.
        line("X-Content-Type-Options: ", &"nosniff");
        if let Some(modified) = self.modified {
            line("Last-Modified: ", &http_date(modified));
            line("Accept-Ranges: ", &"bytes");
        }
        let len = match &self.body {
            Body::None => None,
            Body::Text(text) => Some(text.len() as u64),
            Body::File { len, .. } => Some(*len),
        };
        if let Some(len) = len {
            line("Content-Type: ", &self.media_type);
            line("Content-Length: ", &len);
        }
        for (name, value) in &self.headers {
            line(name, &format_args!(": {value}"));
        }
        if let Some(connection) = connection {
            line("Connection: ", &connection);
        }
        line("", &"");
    }
}

fn http_date(time: SystemTime) -> httpdate::HttpDate {
    /// The first second of the year 10000, where the format ends.
    const END: u64 = 253_402_300_800;
    // A file may have any time at all, and the library panics on what the format cannot say.
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(END - 1))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_of_a_file_has_a_date() {
        let date = |seconds: i64| {
            let length = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            http_date(if seconds < 0 { epoch - length } else { epoch + length }).to_string()
        };
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(1 << 40), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
