//! Values at known places of a JSON text, found in one pass that looks at nothing else.
//!
//! The text comes from a network, and may be cut. Nothing here checks that it is JSON: what was found before a breach or
//! the end counts, and nothing behind it. There is no recursion, and no memory is taken.

mod skip;

use skip::End;

use super::places::{LEVELS_MAX, Node, PLACES_MAX, Places, ROOT};
use super::value::Value;

/// Where a value stands.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// What was found in a text, by the numbers of places.
#[derive(Debug, Clone)]
pub(crate) struct Found<'a> {
    text: &'a [u8],
    mask: u32,
    /// Which of the values are strings, numbers, true or false.
    scalars: u32,
    /// Which of them have a backslash in them.
    escaped: u32,
    spans: [Span; PLACES_MAX],
}

impl<'a> Found<'a> {
    /// Nothing, in any text.
    #[inline(always)]
    pub(crate) fn nothing(text: &'a [u8]) -> Found<'a> {
        Found { text, mask: 0, scalars: 0, escaped: 0, spans: [Span::default(); PLACES_MAX] }
    }

    /// Looks for all of `places`, where nothing was found before. `whole`: the text is not cut.
    #[inline]
    pub(crate) fn look_for(&mut self, places: &Places, whole: bool) {
        // More is never looked at; a span would not hold it.
        if !places.is_empty() && u32::try_from(self.text.len()).is_ok() {
            let levels = [Level::default(); LEVELS_MAX];
            Scan { places, text: self.text, seen: 1 << ROOT, levels, depth: 0, found: self }.run(whole);
        }
    }

    /// One bit of each place where something was found.
    pub(crate) fn mask(&self) -> u32 {
        self.mask
    }

    /// Those of them where a string, a number, true or false was.
    pub(crate) fn scalars(&self) -> u32 {
        self.scalars
    }

    /// What stands in a place.
    #[inline(always)]
    pub(crate) fn value(&self, place: u8) -> Option<Value<'a>> {
        if self.mask & (1 << place) == 0 {
            return None;
        }
        let span = self.spans.get(usize::from(place))?;
        let raw = self.text.get(span.start as usize..span.end as usize)?;
        Some(Value::new(raw, self.escaped & (1 << place) != 0))
    }

    /// From where to where in the text it stands.
    pub(crate) fn range(&self, place: u8) -> Option<std::ops::Range<usize>> {
        let span = self.spans.get(usize::from(place)).filter(|_| self.mask & (1 << place) != 0)?;
        Some(span.start as usize..span.end as usize)
    }

    #[inline(always)]
    fn add(&mut self, place: u8, start: usize, end: usize, escaped: bool) {
        if let Some(span) = self.spans.get_mut(usize::from(place)) {
            *span = Span { start: start as u32, end: end as u32 };
            self.mask |= 1 << place;
            let is_scalar = self.text.get(start).is_some_and(|first| !matches!(first, b'{' | b'[' | b'n'));
            self.scalars |= u32::from(is_scalar) << place;
            self.escaped |= u32::from(escaped) << place;
        }
    }
}

/// An array or object that something is looked for in.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// In two bytes, so that there is no gap in a level: many are zeroed at once.
    node: u16,
    array: bool,
    /// Nothing in it has been read.
    fresh: bool,
    /// Of the next element.
    index: u32,
    /// Where its bracket stands.
    start: u32,
}

/// One pass.
struct Scan<'p, 'a, 'f> {
    places: &'p Places,
    text: &'a [u8],
    /// One bit of each node that was met: of two members with one name, the first counts.
    seen: u64,
    /// Those around the one that is looked through.
    levels: [Level; LEVELS_MAX],
    depth: usize,
    found: &'f mut Found<'a>,
}

impl Scan<'_, '_, '_> {
    /// `None`, of this and its steps: the text ends, or is not JSON.
    fn run(mut self, whole: bool) -> Option<()> {
        let root = self.places.node(ROOT)?;
        let mut at = skip::space(self.text, 0);
        if root.below == 0 || !matches!(self.text.get(at)?, b'{' | b'[') {
            let value = skip::value(self.text, at, whole)?;
            self.keep(root.place, at, value);
            return Some(());
        }
        let mut level = self.level(ROOT, at)?;
        let mut node = root;
        at += 1;
        loop {
            if let Some(next) = self.next(node, &mut level, &mut at)? {
                let mut place = None;
                if let Some(number) = next {
                    self.seen |= 1 << number;
                    let child = self.places.node(number)?;
                    if child.below != 0 && matches!(self.text.get(at)?, b'{' | b'[') {
                        *self.levels.get_mut(self.depth)? = level;
                        self.depth += 1;
                        (level, node) = (self.level(number, at)?, child);
                        at += 1;
                        continue;
                    }
                    place = child.place;
                }
                let value = skip::value(self.text, at, false)?;
                self.keep(place, at, value);
                at = value.at();
                continue;
            }
            if let Some(place) = node.place {
                self.found.add(place, level.start as usize, at, false);
            }
            if self.depth == 0 {
                return Some(());
            }
            self.depth -= 1;
            level = *self.levels.get(self.depth)?;
            node = self.places.node(level.node as u8)?;
        }
    }

    /// Goes to the next value in an array or object, and says to which node it belongs, if to any; or to the end of
    /// that, and says that it was there.
    #[inline(always)]
    fn next(&mut self, node: &Node, level: &mut Level, at: &mut usize) -> Option<Option<Option<u8>>> {
        if node.below & !self.seen == 0 {
            if self.is_through(node) {
                return None;
            }
            *at = skip::rest_of_container(self.text, *at)?;
            return Some(None);
        }
        *at = skip::space(self.text, *at);
        match *self.text.get(*at)? {
            b'}' if !level.array => {
                *at += 1;
                return Some(None);
            }
            b']' if level.array => {
                *at += 1;
                return Some(None);
            }
            b',' if !level.fresh => *at = skip::space(self.text, *at + 1),
            _ if level.fresh => level.fresh = false,
            _ => return None,
        }
        let child = if level.array {
            level.index = level.index.saturating_add(1);
            node.element(level.index - 1)
        } else {
            self.member(node, at)?
        };
        Some(Some(child.filter(|child| self.seen & (1 << child) == 0)))
    }

    /// Reads a name and its colon.
    #[inline(always)]
    fn member(&self, node: &Node, at: &mut usize) -> Option<Option<u8>> {
        if *self.text.get(*at)? != b'"' {
            return None;
        }
        let name = skip::string(self.text, *at)?;
        let (start, length) = (*at + 1, name.at() - *at - 2);
        let child = if length.wrapping_sub(1) < 8 && !name.escaped() {
            let word = skip::word(self.text, start)? & (u64::MAX >> (64 - 8 * length));
            node.short_member(length, word)
        } else {
            node.member(&Value::new(self.text.get(*at..name.at())?, name.escaped()).string()?)
        };
        *at = skip::space(self.text, name.at());
        if *self.text.get(*at)? != b':' {
            return None;
        }
        *at = skip::space(self.text, *at + 1);
        Some(child)
    }

    /// Nothing is left to be found, and nothing around here must be read to its end.
    fn is_through(&self, node: &Node) -> bool {
        let over = |node: &Node| node.place.is_none() && node.below & !self.seen == 0;
        let mut around = self.levels.iter().take(self.depth);
        over(node) && around.all(|level| self.places.node(level.node as u8).is_none_or(over))
    }

    fn level(&self, node: u8, start: usize) -> Option<Level> {
        let array = *self.text.get(start)? == b'[';
        Some(Level { node: node.into(), array, fresh: true, index: 0, start: start as u32 })
    }

    #[inline(always)]
    fn keep(&mut self, place: Option<u8>, at: usize, value: End) {
        if let Some(place) = place {
            self.found.add(place, at, value.at(), value.escaped());
        }
    }
}

#[cfg(test)]
mod tests;
