//! The file as a person wrote it: tables and keys with the lines on which they stand.
//!
//! A [`Section`] is read key by key, each with its default and bounds. What has been asked for is what is
//! known: every other key is an error, and the list of all keys needs no second copy.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{ConfigPlace, ValueOrigin};
use super::problem::ProblemReport;
use super::text::quoted;
use super::values;

/// A key that has been asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigKey {
    /// The table it stands in, such as `pool.backend`; empty at the top.
    pub(super) section: String,
    /// Its name; a table's own name for a table.
    pub(super) name: &'static str,
    /// What holds when it is not written, as it would be written. `None` for a table.
    pub(super) default: Option<String>,
    /// What may be written, in words.
    pub(super) allowed: String,
}

/// Why a value cannot be used, and where in it the fault lies when it has parts.
#[derive(Debug)]
pub(super) struct ValueFault {
    /// The byte at which the part at fault begins; `None`: the value as a whole.
    pub(super) offset: Option<usize>,
    /// What was expected and what was found.
    pub(super) message: String,
}

impl From<String> for ValueFault {
    fn from(message: String) -> Self {
        Self { offset: None, message }
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
struct LineStarts {
    starts: Vec<usize>,
}

impl LineStarts {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: std::iter::once(0).chain(ends.map(|(offset, _)| offset + 1)).collect() }
    }

    /// The line of a byte, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// Tables of one kind in one place.
const TABLES_MAX: usize = 4096;

/// Unknown keys of one table that are told in full. More than a report shows; the rest is only counted there.
const UNKNOWN_MAX: usize = 64;

/// Reads a whole file. Syntax errors go to the report, and `read` then does not run. An empty file is read for the list
/// of all keys; of another the list is empty.
pub(super) fn read_document<T>(
    text: &str,
    report: &mut ProblemReport,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Option<(T, Vec<ConfigKey>)> {
    let lines = LineStarts::new(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = lines.at(error.span().map_or(0, |span| span.start));
            report.add(ValueOrigin::Line(line), syntax(text, &error));
            return None;
        }
    };
    let table = document.get_ref();
    let mut root = Section::new(String::new(), 1, Some(table), Some(&lines));
    // Else each of a hundred thousand tables would be compared with all keys that there are.
    root.known = table.is_empty().then(Vec::new);
    let value = read(&mut root);
    let (known, problems) = root.close();
    let known = known.unwrap_or_default();
    problems.into_iter().for_each(|(line, message)| report.add(ValueOrigin::Line(line), message));
    Some((value, known))
}

/// A syntax error with the text at fault, where there is some.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let at = error.span().filter(|span| !is_secret(text, span.start));
    let at = at.and_then(|span| text.get(span)).map_or("", str::trim);
    let at = if at.is_empty() { String::new() } else { format!(" at {}", quoted(at)) };
    format!("not valid TOML: {message}{at}")
}

/// Whether the line on which this byte stands may hold a token.
fn is_secret(text: &str, offset: usize) -> bool {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    text[line..].lines().next().is_some_and(|line| line.contains("token"))
}

/// One table, or the place where it would stand.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    line: usize,
    table: Option<&'a DeTable<'a>>,
    lines: Option<&'a LineStarts>,
    /// The names of its keys that have been asked for.
    names: Vec<&'static str>,
    /// Others ask for other keys.
    is_shared: bool,
    /// All keys that have been asked for, those of tables in it too; `None`: nobody wants them.
    known: Option<Vec<ConfigKey>>,
    problems: Vec<(usize, String)>,
}

impl<'a> Section<'a> {
    fn new(path: String, line: usize, table: Option<&'a DeTable<'a>>, lines: Option<&'a LineStarts>) -> Self {
        Self {
            path,
            line,
            table,
            lines,
            names: Vec::new(),
            is_shared: false,
            known: None,
            problems: Vec::new(),
        }
    }

    /// A table that nobody has written: everything read from it is the default.
    pub(super) fn absent(path: &str) -> Self {
        Self::new(path.to_owned(), 0, None, None)
    }

    /// The line of its head.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The table, for what turns out to be wrong with it later.
    pub(super) fn place(&self) -> ConfigPlace {
        ConfigPlace { origin: ValueOrigin::Line(self.line), key: format!("[{}]", self.path) }
    }

    /// A key of it, likewise.
    pub(super) fn place_of(&self, name: &str) -> ConfigPlace {
        let value = self.table.and_then(|table| table.get(name));
        let line = value.map_or(self.line, |value| self.line_at(value.span().start));
        ConfigPlace { origin: ValueOrigin::Line(line), key: format!("[{}] {name}", self.path) }
    }

    // Tables in it.

    /// Reads the table `[name]`, written or not.
    pub(super) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = self.register_table(name);
        let (table, line) = match self.table.and_then(|table| table.get(name)) {
            None => (None, self.line),
            Some(value) => {
                let line = self.line_at(value.span().start);
                if value.get_ref().as_table().is_none() {
                    self.problem_at(
                        line,
                        name,
                        format!("expected a table [{path}], {}", found(value.get_ref())),
                    );
                }
                (value.get_ref().as_table(), line)
            }
        };
        let mut section = self.inner(path, line, table);
        let value = read(&mut section);
        self.absorb(section);
        value
    }

    /// As [`Self::section`]; `None` when nobody has written it.
    pub(super) fn optional_section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> Option<T> {
        let written = self.is_written(name);
        let value = self.section(name, read);
        written.then_some(value)
    }

    /// Reads all tables `[[name]]`. Without any, the place where one would stand is read for its keys.
    pub(super) fn tables<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let path = self.register_table(name);
        let expected = format!("expected tables headed [[{path}]]");
        let Some(value) = self.table.and_then(|table| table.get(name)) else {
            let mut section = self.inner(path, 0, None);
            read(&mut section);
            self.absorb(section);
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let line = self.line_at(value.span().start);
            self.problem_at(line, name, format!("{expected}, {}", found(value.get_ref())));
            return Vec::new();
        };
        if array.len() > TABLES_MAX {
            let count = array.len();
            let line = array.first().map_or(self.line, |first| self.line_at(first.span().start));
            self.problem_at(
                line,
                name,
                format!("{count} tables [[{path}]] are too many; allowed are {TABLES_MAX}"),
            );
            return Vec::new();
        }
        let mut all = Vec::with_capacity(array.len());
        for element in array.iter() {
            let line = self.line_at(element.span().start);
            let Some(table) = element.get_ref().as_table() else {
                self.problem_at(line, name, format!("{expected}, {}", found(element.get_ref())));
                continue;
            };
            let mut section = self.inner(path.clone(), line, Some(table));
            all.push(read(&mut section));
            self.absorb(section);
        }
        all
    }

    // Rules over several keys, or over their absence.

    /// As [`Self::text`] of [`super::typed`]; the table must have it.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.table.is_some() && !self.is_written(name) {
            self.problem_at(self.line, name, format!("missing; give {allowed}"));
        }
        self.text(name, "required", allowed, parse)
    }

    /// Checks what several keys say together. The problem stands where the first of them that is written
    /// stands. With a problem in this table already, or without the table, there is nothing to judge.
    pub(super) fn check(&mut self, names: &[&'static str], holds: bool, message: impl FnOnce() -> String) {
        if holds || self.table.is_none() || !self.problems.is_empty() {
            return;
        }
        let written = names.iter().find_map(|name| Some((*name, self.table?.get(*name)?.span().start)));
        let (name, line) = match written {
            Some((name, offset)) => (name, self.line_at(offset)),
            None => (names.first().copied().unwrap_or_default(), self.line),
        };
        self.problem_at(line, name, message());
    }

    /// Refuses a key that means nothing here, if it is written.
    pub(super) fn refuse(&mut self, name: &'static str, message: impl FnOnce() -> String) {
        if let Some(value) = self.table.and_then(|table| table.get(name)) {
            let line = self.line_at(value.span().start);
            self.problem_at(line, name, message());
        }
    }

    /// Nothing is wrong with it so far.
    pub(super) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// What turns out to be wrong with a key of the table at this place in the list `name`; where `name` is no list, of
    /// the one table that it is.
    pub(super) fn fault_within(&mut self, name: &'static str, index: usize, key: &str, message: &str) {
        let outer = self.table.and_then(|table| table.get(name));
        let table = outer.and_then(|value| match value.get_ref() {
            DeValue::Array(array) => array.get(index),
            _ => Some(value),
        });
        let inner = table.and_then(|table| table.get_ref().as_table()).and_then(|table| table.get(key));
        let line = inner.or(table).or(outer).map_or(self.line, |value| self.line_at(value.span().start));
        self.problems.push((line, format!("[{}.{name}] {key}: {message}", self.path)));
    }

    /// What else is written in it is somebody else's.
    pub(super) fn leave_the_rest(&mut self) {
        self.is_shared = true;
    }

    fn is_written(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    // For the types in [`super::typed`].

    /// Reads a value; `None` when it is not written or wrong.
    pub(super) fn value<T, E: Into<ValueFault>>(
        &mut self,
        name: &'static str,
        default: &str,
        allowed: String,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, E>,
    ) -> Option<T> {
        self.register(name, Some(default), allowed);
        let value = self.table?.get(name)?;
        let read = parse(value.get_ref()).map_err(Into::into);
        let refuse = |ValueFault { offset, message }| {
            let line = self.line_at(offset.unwrap_or(value.span().start));
            self.problem_at(line, name, message);
        };
        read.map_err(refuse).ok()
    }

    fn register_table(&mut self, name: &'static str) -> String {
        self.register(name, None, String::new());
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn register(&mut self, name: &'static str, default: Option<&str>, allowed: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        if self.known.is_some() {
            let (section, default) = (self.path.clone(), default.map(str::to_owned));
            self.list(ConfigKey { section, name, default, allowed });
        }
    }

    fn list(&mut self, key: ConfigKey) {
        if let Some(known) = self.known.as_mut().filter(|known| !known.contains(&key)) {
            known.push(key);
        }
    }

    /// A table in it, or the place where it would stand.
    fn inner(&self, path: String, line: usize, table: Option<&'a DeTable<'a>>) -> Section<'a> {
        let known = self.known.is_some().then(Vec::new);
        Section { known, ..Section::new(path, line, table, self.lines) }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.lines.map_or(self.line, |lines| lines.at(offset))
    }

    pub(super) fn problem_at(&mut self, line: usize, name: &str, message: String) {
        let message = format!("{}{name}: {message}", self.label());
        self.problems.push((line, message));
    }

    fn label(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("[{}] ", self.path) }
    }

    fn absorb(&mut self, child: Section<'_>) {
        let (known, problems) = child.close();
        known.into_iter().flatten().for_each(|key| self.list(key));
        self.problems.extend(problems);
    }

    /// Ends the reading: what was not asked for is unknown.
    fn close(mut self) -> (Option<Vec<ConfigKey>>, Vec<(usize, String)>) {
        let names = &self.names;
        let keys = self.table.into_iter().filter(|_| !self.is_shared).flat_map(|table| table.keys());
        let mut unknown: Vec<_> = keys.filter(|key| !names.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_unstable_by_key(|key| key.span().start);
        for (number, key) in unknown.into_iter().enumerate() {
            let told = number < UNKNOWN_MAX;
            let message = if told { self.label() + &unknown_key(key, names) } else { String::new() };
            self.problems.push((self.line_at(key.span().start), message));
        }
        (self.known, self.problems)
    }
}

/// `unknown key "mesage"; did you mean "message"? known keys: ...`
fn unknown_key(key: &Spanned<std::borrow::Cow<'_, str>>, names: &[&str]) -> String {
    let key = key.get_ref();
    let hint = values::nearest(key, names);
    format!("unknown key {};{hint} known keys: {}", quoted(key), names.join(", "))
}

/// What was written instead, in words.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("found {}", quoted(text)),
        DeValue::Integer(number) => format!("found the number {number}"),
        DeValue::Float(number) => format!("found the number {number}"),
        DeValue::Boolean(word) => format!("found {word}"),
        DeValue::Datetime(_) => "found a date".to_owned(),
        DeValue::Array(_) => "found a list".to_owned(),
        DeValue::Table(_) => "found a table".to_owned(),
    }
}
