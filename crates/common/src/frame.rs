//! Messages over a byte stream: a length (`length.rs`), then so many bytes. One length is the end.
//!
//! Between the length and a message of more than 16 KiB there are 60 bytes that mean nothing, so that a cache line's 64
//! stand in front of it: memory is copied faster from line to line than across.

use std::io::{self, IoSlice, Read, Write};

use crate::head_start::HeadStart;
use crate::length::{self, END};
use crate::piece::Piece;
use crate::{Error, IoBuffer, Link, Receiver, Result, Sender};

/// Bytes in the longest message of a fast stream: what a receiver is willing to hold in memory. A technique's
/// own `max_message` is what counts.
pub const MAX_FRAME: usize = 16 << 20;

/// Half of what a pipe holds; larger messages make the buffer grow.
const BUFFER: usize = 128 << 10;

/// A longer message begins with a cache line, if the frame does; and nothing is read with its end but the line that the
/// next frame begins with.
const LONG: usize = 16 << 10;

/// Bytes in a cache line.
const LINE: usize = 64;

/// The sending end of any byte stream.
pub struct FrameWriter<W, const SLOW: bool = false> {
    // Dropped first: a channel is closed before its endpoint is removed.
    stream: W,
    link: Link,
    piece: Piece,
}

impl<W: Write> FrameWriter<W> {
    /// Frames messages into `stream`, which must not buffer.
    pub fn new(link: Link, stream: W) -> Self {
        FrameWriter { stream, link, piece: Piece::default() }
    }

    /// Each byte takes long: lengths have one or two, so no message may have more than 32,511.
    #[must_use]
    pub fn slow(self) -> FrameWriter<W, true> {
        debug_assert!(self.link.max_message() < length::SLOW_LIMIT);
        FrameWriter { stream: self.stream, link: self.link, piece: self.piece }
    }
}

impl<W: Write, const SLOW: bool> FrameWriter<W, SLOW> {
    /// Sends the end and hands back what is needed to wait for the receiver's answer to it.
    ///
    /// # Errors
    /// As [`Sender::finish`].
    pub fn end(mut self) -> Result<(Link, W)> {
        self.write(END, &[])?;
        Ok((self.link, self.stream))
    }

    /// One write(2) or writev(2), unless the kernel takes less than all of it.
    fn write(&mut self, length: u32, payload: &[u8]) -> Result<()> {
        let (header, len) = length::written::<SLOW>(length);
        let header = &header[..len];
        let line;
        let front = if payload.len() > LONG {
            line = begin_line(header);
            &line[..]
        } else {
            header
        };
        if let Some(mut rest) = self.piece.join(front, payload) {
            while !rest.is_empty() {
                let len = self.link.wait("write", || not_nothing(self.stream.write(rest)))?;
                rest = &rest[len..];
            }
        } else {
            let mut slices = [IoSlice::new(front), IoSlice::new(payload)];
            let mut rest = &mut slices[..];
            let mut left = front.len() + payload.len();
            while left > 0 {
                let len = self.link.wait("write", || not_nothing(self.stream.write_vectored(rest)))?;
                left -= len;
                // As a rule the first call takes all, and for a short message this step would count.
                if left > 0 {
                    IoSlice::advance_slices(&mut rest, len);
                }
            }
        }
        Ok(())
    }
}

/// A line that begins with these bytes; the others mean nothing.
fn begin_line(bytes: &[u8]) -> [u8; LINE] {
    let mut line = [0; LINE];
    line[..bytes.len()].copy_from_slice(bytes);
    line
}

#[inline]
fn not_nothing(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        other => other,
    }
}

impl<W: Write, const SLOW: bool> Sender for FrameWriter<W, SLOW> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let max = self.link.max_message();
        if message.len() > max {
            return Err(Error::too_long(message.len(), max));
        }
        self.write(message.len() as u32, message)
    }

    fn finish(self) -> Result<()> {
        self.end().map(drop)
    }
}

/// The receiving end of any byte stream. One read(2) may bring many messages.
pub struct FrameReader<R, F, const SLOW: bool = false> {
    stream: Stream<R, F>,
    buffer: IoBuffer,
    /// `buffer[start..end]` has been read and not yet returned.
    start: usize,
    end: usize,
    finished: bool,
    /// Bytes of the last frame, if it was a long one's, and of the line behind it.
    long: Option<usize>,
    answer: fn(&mut R),
    head_start: HeadStart,
    link: Link,
}

enum Stream<R, F> {
    /// Opening may block until the sender comes, so it happens at the first `recv`.
    Closed(F),
    Open(R),
}

impl<R: Read> FrameReader<R, fn() -> io::Result<R>> {
    /// Takes messages out of a stream that is open.
    pub fn over(link: Link, stream: R) -> Self {
        let mut reader = FrameReader::new(link, (|| Err(io::ErrorKind::NotConnected.into())) as fn() -> io::Result<R>);
        reader.stream = Stream::Open(stream);
        reader
    }
}

impl<R: Read, F: FnMut() -> io::Result<R>> FrameReader<R, F> {
    /// Takes messages out of the stream that `open` opens.
    pub fn new(link: Link, open: F) -> Self {
        FrameReader {
            stream: Stream::Closed(open),
            buffer: IoBuffer::new(BUFFER),
            start: 0,
            end: 0,
            finished: false,
            long: None,
            answer: |_| (),
            head_start: HeadStart::KERNEL,
            link,
        }
    }

    /// The stream is a file that is written meanwhile.
    #[must_use]
    pub fn in_file(self) -> Self {
        FrameReader { head_start: HeadStart::FILE, ..self }
    }

    /// Each byte takes long: lengths have one or two.
    #[must_use]
    pub fn slow(self) -> FrameReader<R, F, true> {
        let FrameReader { stream, buffer, start, end, finished, long, answer, head_start, link } = self;
        FrameReader { stream, buffer, start, end, finished, long, answer, head_start, link }
    }

    /// Runs `answer` when the end has come, for a stream whose writer waits to be told so.
    #[must_use]
    pub fn answering(self, answer: fn(&mut R)) -> Self {
        FrameReader { answer, ..self }
    }
}

impl<R: Read, F: FnMut() -> io::Result<R>, const SLOW: bool> FrameReader<R, F, SLOW> {
    /// Sees to it that at least `need` bytes stand at `start`.
    #[inline]
    fn have(&mut self, need: usize) -> Result<()> {
        if self.end - self.start < need { self.fill(need) } else { Ok(()) }
    }

    fn fill(&mut self, need: usize) -> Result<()> {
        while self.end - self.start < need {
            // A long message is read with the next one's beginning, where there is one.
            let behind_long = self.long.filter(|_| self.start == self.end);
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            } else if self.start + need > self.buffer.len() {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            self.buffer.grow(need + LINE);
            let len = match &mut self.stream {
                Stream::Open(stream) => {
                    // Of a long message no more than its rest and the line in front of the next one: what is read
                    // beyond that would only have to be moved to the front of the buffer. And no less than a line, for
                    // the next read is to begin with one, too. The message behind a long one is likely to be as long.
                    let rest = need - (self.end - self.start) + LINE;
                    let most = behind_long.unwrap_or(if need > LONG { rest } else { usize::MAX });
                    let until = self.buffer.len().min(self.end.saturating_add(most));
                    self.head_start.give(behind_long.is_some());
                    let len = self.link.wait("read", || stream.read(&mut self.buffer[self.end..until]))?;
                    self.head_start.read(len);
                    len
                }
                Stream::Closed(open) => {
                    self.stream = Stream::Open(self.link.wait("open", open)?);
                    continue;
                }
            };
            if len == 0 {
                return Err(self.link.gone("read", None));
            }
            self.end += len;
        }
        Ok(())
    }
}

impl<R: Read, F: FnMut() -> io::Result<R>, const SLOW: bool> Receiver for FrameReader<R, F, SLOW> {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        self.have(length::least::<SLOW>())?;
        let header_len = length::bytes::<SLOW>(self.buffer[self.start]);
        self.have(header_len)?;
        let length = length::read(&self.buffer[self.start..][..header_len]);
        if length == END {
            self.finished = true;
            if let Stream::Open(stream) = &mut self.stream {
                (self.answer)(stream);
            }
            return Ok(None);
        }
        // Never trust a length that comes from outside.
        let (len, max) = (length as usize, self.link.max_message());
        if len > max {
            return Err(Error::too_long(len, max).with_hint("announced by the sender"));
        }
        self.long = (len > LONG).then_some(LINE + len + LINE);
        let front = if len > LONG { LINE } else { header_len };
        self.have(front + len)?;
        let message = self.start + front..self.start + front + len;
        self.start = message.end;
        self.head_start.message();
        Ok(Some(&self.buffer[message]))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{self, Read, Write};

    use super::Stream::Open as Opened;
    use super::{BUFFER, FrameReader, FrameWriter, LINE, LONG};
    use crate::{
        Args, Carries, Chapter, Delivery, Endpoint, Link, Notices, Reach, Receiver, Role, Sender, Technique, WhenFull,
    };

    pub(crate) const STREAM: Technique = Technique {
        name: "stream",
        summary: "bytes in memory",
        chapter: Chapter::More,
        kernel_object: "nothing",
        carries: Carries::Bytes,
        reach: Reach::Family,
        delivery: Delivery::Reliable,
        notices: Notices::Neither,
        when_full: WhenFull::Grows,
        max_message: 1 << 20,
        payload_limit: None,
        endpoint: Endpoint::Inherited,
        options: &[],
    };

    /// Takes and gives so many bytes at a time.
    struct Stream {
        most: usize,
        bytes: Vec<u8>,
        given: usize,
        /// For each read: how many bytes there was room for, and how far behind a cache line's beginning.
        asked: Vec<(usize, usize)>,
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(self.most);
            self.bytes.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.asked.push((buffer.len(), buffer.as_ptr().addr() % LINE));
            let left = &self.bytes[self.given..];
            let len = left.len().min(buffer.len()).min(self.most);
            buffer[..len].copy_from_slice(&left[..len]);
            self.given += len;
            Ok(len)
        }
    }

    fn message(len: usize) -> Vec<u8> {
        (1..=250).cycle().take(len).collect()
    }

    /// What writing messages of these lengths, and the end, puts into a stream.
    fn written(most: usize, lens: &[usize]) -> Stream {
        let link = Link::bare(&Args::new(&STREAM, Role::Sender)).unwrap();
        let mut writer = FrameWriter::new(link, Stream { most, bytes: Vec::new(), given: 0, asked: Vec::new() });
        for &len in lens {
            writer.send(&message(len)).unwrap();
        }
        writer.end().unwrap().1
    }

    #[test]
    fn a_long_message_has_a_cache_line_in_front_of_it() {
        for (len, front) in [(0, 4), (LONG, 4), (LONG + 1, LINE)] {
            let bytes = written(usize::MAX, &[len]).bytes;
            assert_eq!(bytes[..4], (len as u32).to_be_bytes());
            assert_eq!(bytes[front..front + len], message(len));
            assert_eq!(bytes[front + len..], [0xff; 4]);
        }
    }

    #[test]
    fn a_stream_may_take_and_give_few_bytes_at_a_time() {
        let lens = [5, 0, LONG - 1, LONG, LONG + 1, 1, LONG + LINE, 2 * LONG, 300_000, 7];
        for most in [1, 3, LINE - 4, LINE, 4096, LONG + LINE, usize::MAX] {
            let link = Link::bare(&Args::new(&STREAM, Role::Receiver)).unwrap();
            let mut reader = FrameReader::over(link, written(most, &lens));
            for len in lens {
                assert_eq!(reader.recv().unwrap(), Some(&message(len)[..]), "{len} bytes, {most} at a time");
            }
            assert_eq!(reader.recv().unwrap(), None);
        }
    }

    #[test]
    fn no_more_is_read_at_once_than_the_buffer_holds() {
        let lens = [100; 2000];
        let link = Link::bare(&Args::new(&STREAM, Role::Receiver)).unwrap();
        let mut reader = FrameReader::over(link, written(usize::MAX, &lens));
        lens.iter().for_each(|&len| assert_eq!(reader.recv().unwrap(), Some(&message(len)[..])));
        let Opened(stream) = &reader.stream else { panic!("it is open") };
        assert_eq!(stream.asked.iter().map(|asked| asked.0).max(), Some(BUFFER));
    }

    /// Whether the reader is behind its writer or has taken all that was there.
    #[test]
    fn each_long_message_is_one_read_from_line_to_line_and_nothing_is_read_to_be_moved() {
        const LEN: usize = 3 * LONG;
        for (most, room) in [(usize::MAX, LINE + LEN), (LINE + LEN, LINE + LEN + LINE)] {
            let link = Link::bare(&Args::new(&STREAM, Role::Receiver)).unwrap();
            let mut stream = written(usize::MAX, &[LEN; 20]);
            stream.most = most;
            let mut reader = FrameReader::over(link, stream);
            for _ in 0..20 {
                assert_eq!(reader.recv().unwrap(), Some(&message(LEN)[..]));
            }
            let Opened(stream) = &reader.stream else { panic!("it is open") };
            // The first read cannot know. It takes a part of the second message, too, if that is there.
            assert!(stream.asked.len() <= 21, "{:?}", stream.asked);
            assert!(stream.asked[2..].iter().all(|asked| *asked == (room, 0)), "{:?}", stream.asked);
        }
    }
}
