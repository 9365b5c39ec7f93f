//! What a request is answered with.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::SystemTime;

use crate::files::Found;
use crate::range::{self, Range};
use crate::reply::{Body, Reply, Status};
use crate::request::{Method, Request};
use crate::server::Context;
use crate::status;
use crate::target::Target;

/// Answers a request. `peer` tells whose it is.
pub fn answer(request: &Request, context: &Context, peer: impl Fn() -> Option<SocketAddr>) -> Reply {
    match request.method {
        Method::Get | Method::Head => {}
        Method::Other => return Reply::plain(Status::MethodNotAllowed),
        Method::Unknown => return Reply::plain(Status::NotImplemented),
    }
    let target = match Target::parse(request.target) {
        Ok(target) => target,
        Err(status) => return Reply::plain(status),
    };
    if !target.is_directory()
        && let Some(page) = status::page(target.path(), context)
    {
        // What the server does is the business of this machine only.
        let local = peer().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        return if local { page } else { Reply::plain(Status::Forbidden) };
    }
    match context.root.find(&target) {
        Ok(Found::Directory) => Reply::plain(Status::MovedPermanently).with("Location", target.as_directory()),
        Ok(Found::File { file, len, modified, media_type }) => {
            let body = Body::File { file, start: 0, len };
            let reply = Reply {
                status: Status::Ok,
                media_type: with_charset(media_type.unwrap_or("application/octet-stream")),
                // A time in the future would make a browser believe that it has what is yet to come.
                modified: Some(modified.min(SystemTime::now())),
                headers: Vec::new(),
                body,
            };
            conditional(request, reply)
        }
        Err(status) => Reply::plain(status),
    }
}

/// Not all of the file, where the request says so.
fn conditional(request: &Request, mut reply: Reply) -> Reply {
    if request.modified_since.zip(reply.modified).is_some_and(|(since, modified)| modified <= since) {
        return Reply { status: Status::NotModified, body: Body::None, ..reply };
    }
    let same = request.if_range.is_none_or(|known| known == reply.modified);
    let Some(field) = request.range.filter(|_| same && request.method == Method::Get) else { return reply };
    let Body::File { start, len, .. } = &mut reply.body else { return reply };
    let size = *len;
    match range::parse(field, size) {
        Range::Whole => reply,
        Range::Part { start: from, len: count } => {
            (*start, *len) = (from, count);
            let content = format!("bytes {from}-{}/{size}", from + count - 1);
            Reply { status: Status::PartialContent, ..reply }.with("Content-Range", content)
        }
        Range::Unsatisfiable => {
            Reply::plain(Status::RangeNotSatisfiable).with("Content-Range", format!("bytes */{size}"))
        }
    }
}

fn with_charset(media_type: &'static str) -> Cow<'static, str> {
    if media_type.starts_with("text/") { format!("{media_type}; charset=utf-8").into() } else { media_type.into() }
}
