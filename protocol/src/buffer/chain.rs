//! A byte queue in chunks: copied in once, written from where it lies, freed as it is consumed.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Bytes of a large chunk. Below the threshold from which allocators ask the kernel each time.
pub const CHUNK: usize = 64 * 1024;

/// The smallest second chunk, so that a dribble of tiny appends does not allocate for each.
const CHUNK_MIN: usize = 512;

/// The longest vector that is taken over as a chunk.
const ADOPTED_MAX: usize = 16 * CHUNK;

/// The pieces of one vectored write, at most eight.
#[derive(Debug)]
pub struct Gather<'a> {
    pieces: [IoSlice<'a>; 8],
    count: usize,
}

impl<'a> Gather<'a> {
    /// Nothing to write yet.
    #[inline]
    pub fn new() -> Gather<'a> {
        Gather { pieces: [IoSlice::new(&[]); 8], count: 0 }
    }

    /// Adds a piece; false when there is no room for it.
    #[inline]
    pub fn add(&mut self, piece: &'a [u8]) -> bool {
        let Some(place) = self.pieces.get_mut(self.count) else { return false };
        *place = IoSlice::new(piece);
        self.count += 1;
        true
    }

    /// There is no room for another piece.
    pub fn is_full(&self) -> bool {
        self.count == self.pieces.len()
    }

    /// The pieces, in order.
    #[inline]
    pub fn pieces(&self) -> &[IoSlice<'a>] {
        &self.pieces[..self.count]
    }
}

impl Default for Gather<'_> {
    fn default() -> Self {
        Gather::new()
    }
}

/// A queue of bytes. Empty, it holds no memory of its own.
#[derive(Debug, Default)]
pub struct Chain {
    /// The first chunk stands apart: mostly it is the only one, and costs one allocation.
    first: Vec<u8>,
    #[expect(clippy::box_collection, reason = "an absent one must take no more room than a pointer")]
    rest: Option<Box<VecDeque<Vec<u8>>>>,
    /// Bytes of `first` that are consumed already.
    start: u32,
    /// Bounded by the message and ring limits, which are far below 2^32.
    len: u32,
}

impl Chain {
    /// Bytes in the queue.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` to the end.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let tail = self.tail(bytes.len());
            let taken = bytes.len().min(tail.capacity() - tail.len());
            let (now, later) = bytes.split_at(taken);
            tail.extend_from_slice(now);
            self.len += taken as u32;
            bytes = later;
        }
    }

    /// Moves the bytes of `chunk` from `start` on to the end: without copying them where they are the first
    /// here, and are not so many that their memory should rather be given back bit by bit.
    pub fn adopt(&mut self, chunk: Vec<u8>, start: usize) {
        let bytes = chunk.get(start..).unwrap_or_default();
        let len = bytes.len();
        if !self.is_empty() || len == 0 || chunk.len() > ADOPTED_MAX {
            return self.push(bytes);
        }
        *self = Chain { first: chunk, rest: None, start: start as u32, len: len as u32 };
    }

    /// The last chunk, with room for at least one more byte and, when it is new, for `want`, up to
    /// [`CHUNK`]. Whoever writes to it past its present length calls [`Chain::grown`].
    pub fn tail(&mut self, want: usize) -> &mut Vec<u8> {
        if self.len == 0 {
            self.clear();
            self.first = Vec::with_capacity(want.clamp(1, CHUNK));
            return &mut self.first;
        }
        let full = |chunk: &Vec<u8>| chunk.len() == chunk.capacity();
        let last_full = match self.rest.as_ref().and_then(|rest| rest.back()) {
            Some(back) => full(back),
            None => full(&self.first),
        };
        if last_full {
            let more = want.max(CHUNK_MIN).max(self.len().min(CHUNK)).min(CHUNK);
            self.rest.get_or_insert_default().push_back(Vec::with_capacity(more));
        }
        match self.rest.as_mut().and_then(|rest| rest.back_mut()) {
            Some(back) => back,
            None => &mut self.first,
        }
    }

    /// Counts `n` bytes that were written to the vector that [`Chain::tail`] gave.
    pub fn grown(&mut self, n: usize) {
        self.len += n as u32;
    }

    /// Moves all of `other` to the end, without copying.
    pub fn append(&mut self, other: &mut Chain) {
        if self.is_empty() {
            *self = std::mem::take(other);
            return;
        }
        if other.start > 0 {
            // Cannot happen for a chain that was only filled; kept right all the same.
            other.first.drain(..other.start as usize);
            other.start = 0;
        }
        let rest = self.rest.get_or_insert_default();
        rest.push_back(std::mem::take(&mut other.first));
        rest.extend(other.rest.take().into_iter().flat_map(|rest| *rest));
        self.len += other.len;
        other.clear();
    }

    /// Drops `n` bytes from the front, at most all.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.len());
        self.len -= n as u32;
        if self.len == 0 {
            return self.clear();
        }
        let mut start = self.start as usize + n;
        while start >= self.first.len() {
            let Some(next) = self.rest.as_mut().and_then(|rest| rest.pop_front()) else { break };
            start -= self.first.len();
            self.first = next;
        }
        self.start = start as u32;
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
    }

    /// Keeps the first `n` bytes only.
    pub fn truncate(&mut self, n: usize) {
        if n >= self.len() {
            return;
        }
        let mut kept = Chain::default();
        for chunk in self.slices(0) {
            let left = n - kept.len();
            if left == 0 {
                break;
            }
            kept.push(&chunk[..chunk.len().min(left)]);
        }
        *self = kept;
    }

    /// Drops everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = Chain::default();
    }

    /// The bytes from `offset` on, as contiguous pieces, none of them empty.
    pub fn slices(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = offset + self.start as usize;
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        std::iter::once(&self.first).chain(rest).filter_map(move |chunk| {
            let from = skip.min(chunk.len());
            skip -= from;
            (from < chunk.len()).then(|| &chunk[from..])
        })
    }

    /// Adds the pieces of `from..to` to `out`, as many as it has room for.
    #[inline]
    pub fn gather<'a>(&'a self, from: usize, to: usize, out: &mut Gather<'a>) {
        let start = self.start as usize;
        // As almost always, all of it lies in the first chunk.
        match self.first.get(start + from..start + to) {
            Some([]) => {}
            Some(piece) => _ = out.add(piece),
            None => self.gather_pieces(from, to, out),
        }
    }

    fn gather_pieces<'a>(&'a self, from: usize, to: usize, out: &mut Gather<'a>) {
        let mut left = to.saturating_sub(from);
        for piece in self.slices(from) {
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            if piece.is_empty() || !out.add(piece) {
                break;
            }
        }
    }

    /// Adds `n` bytes from `offset` on to `to`, or as many as there are.
    #[inline]
    pub(crate) fn copy(&self, offset: usize, n: usize, to: &mut Vec<u8>) {
        let start = self.start as usize + offset;
        // As almost always, all of it lies in the first chunk.
        if let Some(piece) = self.first.get(start..start + n) {
            return to.extend_from_slice(piece);
        }
        let mut left = n;
        for piece in self.slices(offset) {
            let piece = &piece[..piece.len().min(left)];
            to.extend_from_slice(piece);
            left -= piece.len();
            if left == 0 {
                break;
            }
        }
    }

    /// Copies bytes from `offset` on into `to`, as many as there are, and returns how many.
    #[inline]
    pub fn peek(&self, offset: usize, to: &mut [u8]) -> usize {
        let start = self.start as usize + offset;
        // As almost always, all of it lies in the first chunk.
        if let Some(piece) = self.first.get(start..start + to.len()) {
            to.copy_from_slice(piece);
            return to.len();
        }
        let mut done = 0;
        for piece in self.slices(offset) {
            let n = piece.len().min(to.len() - done);
            to[done..done + n].copy_from_slice(&piece[..n]);
            done += n;
            if done == to.len() {
                break;
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(chain: &Chain) -> Vec<u8> {
        chain.slices(0).flatten().copied().collect()
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(usize),
        Consume(usize),
        Truncate(usize),
        Append(usize),
        Adopt(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0usize..3000).prop_map(Op::Push),
            3 => (0usize..4000).prop_map(Op::Consume),
            1 => (0usize..6000).prop_map(Op::Truncate),
            1 => (0usize..3000).prop_map(Op::Append),
            2 => (0usize..3000, 0usize..100).prop_map(|(n, start)| Op::Adopt(n, start)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_one_long_vector(ops in proptest::collection::vec(op(), 1..60)) {
            let (mut chain, mut model, mut next) = (Chain::default(), Vec::<u8>::new(), 0u8);
            let mut fresh = |n: usize| -> Vec<u8> {
                (0..n).map(|_| { next = next.wrapping_add(1); next }).collect()
            };
            for op in ops {
                match op {
                    Op::Push(n) => { let b = fresh(n); chain.push(&b); model.extend(b); }
                    Op::Consume(n) => { chain.consume(n); model.drain(..n.min(model.len())); }
                    Op::Truncate(n) => { chain.truncate(n); model.truncate(n); }
                    Op::Adopt(n, start) => {
                        let b = fresh(n);
                        model.extend(b.get(start..).unwrap_or_default());
                        chain.adopt(b, start);
                    }
                    Op::Append(n) => {
                        let b = fresh(n);
                        let mut other = Chain::default();
                        other.push(&b);
                        chain.append(&mut other);
                        prop_assert!(other.is_empty());
                        model.extend(b);
                    }
                }
                prop_assert_eq!(chain.len(), model.len());
                prop_assert_eq!(&bytes(&chain), &model);
                let from = model.len() / 3;
                let mut peeked = [0u8; 16];
                let n = chain.peek(from, &mut peeked);
                prop_assert_eq!(&peeked[..n], &model[from..(from + 16).min(model.len())]);
            }
        }
    }

    #[test]
    fn an_empty_chain_holds_no_memory() {
        let mut chain = Chain::default();
        chain.push(&[7; 200_000]);
        chain.consume(200_000);
        assert_eq!((chain.first.capacity(), chain.rest.is_none()), (0, true));
    }

    #[test]
    fn gathers_no_more_pieces_than_fit() {
        let mut chain = Chain::default();
        chain.push(&vec![1; 3 * CHUNK]);
        let mut out = Gather::new();
        for _ in 0..7 {
            assert!(out.add(b"x"));
        }
        chain.gather(10, 3 * CHUNK, &mut out);
        assert!(out.is_full());
        assert_eq!(out.pieces()[7].len(), CHUNK - 10);
    }

    #[test]
    fn tiny_appends_share_a_chunk() {
        let mut chain = Chain::default();
        for _ in 0..100 {
            chain.push(&[1, 2, 3]);
        }
        assert!(chain.slices(0).count() <= 3);
    }

    #[test]
    fn what_is_taken_over_is_not_copied_unless_it_is_very_long() {
        let lies_at = |len: usize| {
            let chunk = vec![7; len];
            let at = chunk[3..].as_ptr();
            let mut chain = Chain::default();
            chain.adopt(chunk, 3);
            let kept = chain.slices(0).next().expect("it is not empty").as_ptr();
            (chain.len() == len - 3, kept == at)
        };
        assert_eq!(lies_at(ADOPTED_MAX), (true, true));
        assert_eq!(lies_at(ADOPTED_MAX + 1), (true, false));
    }
}
