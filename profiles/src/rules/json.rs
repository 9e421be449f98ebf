//! Values at known places of a JSON text, found in one pass that looks at nothing else.
//!
//! The text comes from a network, and may be cut. Nothing here checks that it is JSON: what was found before a breach or
//! the end counts, and nothing behind it. There is no recursion, and no memory is taken.

mod skip;

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
    /// Which of the values have a backslash in them.
    escaped: u32,
    spans: [Span; PLACES_MAX],
}

impl<'a> Found<'a> {
    /// Nothing, in any text.
    pub(crate) fn nothing(text: &'a [u8]) -> Found<'a> {
        Found { text, mask: 0, escaped: 0, spans: [Span::default(); PLACES_MAX] }
    }

    /// Looks for all of `places`. `whole`: the text is not cut.
    pub(crate) fn find(places: &Places, text: &'a [u8], whole: bool) -> Found<'a> {
        let mut found = Found::nothing(text);
        // More is never looked at; a span would not hold it.
        if !places.is_empty() && u32::try_from(text.len()).is_ok() {
            let levels = [Level::default(); LEVELS_MAX];
            Scan { places, text, whole, at: 0, seen: 0, depth: 0, levels, found: &mut found }.run();
        }
        found
    }

    /// One bit of each place where something was found.
    pub(crate) fn mask(&self) -> u32 {
        self.mask
    }

    /// What stands in a place.
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

    fn add(&mut self, place: u8, start: usize, end: usize, escaped: bool) {
        if let Some(span) = self.spans.get_mut(usize::from(place)) {
            *span = Span { start: start as u32, end: end as u32 };
            self.mask |= 1 << place;
            self.escaped |= u32::from(escaped) << place;
        }
    }
}

/// An array or object that something is looked for in.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    node: u8,
    array: bool,
    /// Nothing in it has been read.
    fresh: bool,
    /// Of the next element.
    index: u32,
    /// Where its bracket stands.
    start: u32,
}

/// One pass. `None` from any of its steps: the text ends there, or is not JSON.
struct Scan<'p, 'a, 'f> {
    places: &'p Places,
    text: &'a [u8],
    whole: bool,
    at: usize,
    /// One bit of each node that was met: of two members with one name, the first counts.
    seen: u64,
    depth: usize,
    levels: [Level; LEVELS_MAX],
    found: &'f mut Found<'a>,
}

impl Scan<'_, '_, '_> {
    fn run(mut self) -> Option<()> {
        self.at = skip::space(self.text, 0);
        self.value(ROOT)?;
        while let Some(&level) = self.depth.checked_sub(1).and_then(|top| self.levels.get(top)) {
            if self.node(level.node)?.below & !self.seen == 0 {
                if self.is_through() {
                    return Some(());
                }
                self.at = skip::rest_of_container(self.text, self.at)?;
                self.leave(level)?;
                continue;
            }
            self.at = skip::space(self.text, self.at);
            match *self.text.get(self.at)? {
                b'}' if !level.array => {
                    self.at += 1;
                    self.leave(level)?;
                    continue;
                }
                b']' if level.array => {
                    self.at += 1;
                    self.leave(level)?;
                    continue;
                }
                b',' if !level.fresh => self.at = skip::space(self.text, self.at + 1),
                _ if level.fresh => {}
                _ => return None,
            }
            let next = if level.array { self.element(level.index)? } else { self.member()? };
            match next {
                Some(node) => self.value(node)?,
                None => self.at = skip::value(self.text, self.at, false)?.end,
            }
        }
        Some(())
    }

    fn node(&self, node: u8) -> Option<&Node> {
        self.places.node(node)
    }

    /// Nothing is left to be found, and no array or object around here must be read to its end.
    fn is_through(&self) -> bool {
        self.levels.iter().take(self.depth).all(|level| {
            self.node(level.node).is_none_or(|node| node.place.is_none() && node.below & !self.seen == 0)
        })
    }

    /// Reads a name and its colon. Stands before the value then, and says which node it belongs to.
    fn member(&mut self) -> Option<Option<u8>> {
        self.fresh_no_more(0);
        if *self.text.get(self.at)? != b'"' {
            return None;
        }
        let name = skip::string(self.text, self.at)?;
        let raw = Value::new(self.text.get(self.at..name.end)?, name.escaped);
        self.at = skip::space(self.text, name.end);
        if *self.text.get(self.at)? != b':' {
            return None;
        }
        self.at = skip::space(self.text, self.at + 1);
        let level = self.levels.get(self.depth.checked_sub(1)?)?;
        Some(self.node(level.node)?.member(raw).filter(|node| self.is_first(*node)))
    }

    fn element(&mut self, index: u32) -> Option<Option<u8>> {
        self.fresh_no_more(1);
        let level = self.levels.get(self.depth.checked_sub(1)?)?;
        Some(self.node(level.node)?.element(index).filter(|node| self.is_first(*node)))
    }

    fn fresh_no_more(&mut self, elements: u32) {
        if let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get_mut(top)) {
            level.fresh = false;
            level.index = level.index.saturating_add(elements);
        }
    }

    fn is_first(&self, node: u8) -> bool {
        self.seen & (1 << node) == 0
    }

    /// Reads the value of a node, or only its bracket, if something is looked for in it.
    fn value(&mut self, number: u8) -> Option<()> {
        self.seen |= 1 << number;
        let node = self.places.node(number)?;
        let first = *self.text.get(self.at)?;
        if matches!(first, b'{' | b'[') && node.below != 0 {
            let array = first == b'[';
            let level = self.levels.get_mut(self.depth)?;
            *level = Level { node: number, array, fresh: true, index: 0, start: self.at as u32 };
            self.depth += 1;
            self.at += 1;
            return Some(());
        }
        let may_end = self.depth == 0 && self.whole;
        let value = skip::value(self.text, self.at, may_end)?;
        if let Some(place) = node.place {
            self.found.add(place, self.at, value.end, value.escaped);
        }
        self.at = value.end;
        Some(())
    }

    /// The end of an array or object was read.
    fn leave(&mut self, level: Level) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        if let Some(place) = self.places.node(level.node)?.place {
            self.found.add(place, level.start as usize, self.at, false);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
