//! What is seen while the demo runs: a table that is drawn anew on a terminal, plain lines elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use console::{Term, pad_str, style, truncate_str};

use super::backends::State;

/// How many of the newest events stand below the table.
const EVENTS_SHOWN: usize = 5;

/// How often plain lines tell the figures.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);

/// One moment of the demo.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Since the crowd began to talk.
    pub(super) at: Duration,
    /// The figures of each pool.
    pub(super) pools: Vec<PoolRow>,
}

/// A pool at one moment.
#[derive(Debug, Default)]
pub(super) struct PoolRow {
    pub(super) name: &'static str,
    /// Clients that are connected.
    pub(super) sessions: usize,
    pub(super) sent: usize,
    pub(super) answered: usize,
    pub(super) twice: usize,
    /// By the broker's ledger.
    pub(super) replayed: usize,
    /// By the broker's ledger: messages whose answer may have died with a backend.
    pub(super) in_doubt: usize,
    pub(super) backends: Vec<BackendCell>,
}

/// A backend at one moment.
#[derive(Debug)]
pub(super) struct BackendCell {
    /// What the script has made of it.
    pub(super) state: State,
    /// Whether the broker tries it last, because it failed.
    pub(super) penalised: bool,
    /// Whether the broker empties it.
    pub(super) draining: bool,
    /// Sessions it holds, as the broker counts them.
    pub(super) sessions: usize,
}

/// Where the demo is shown.
#[derive(Debug)]
pub(super) struct Show {
    title: String,
    events: Vec<String>,
    surface: Surface,
}

#[derive(Debug)]
enum Surface {
    Terminal { term: Term, drawn: usize },
    Plain { due: Duration },
}

impl Show {
    /// Shows on standard output, with a title.
    pub(super) fn open(title: String) -> io::Result<Self> {
        let term = Term::buffered_stdout();
        let surface = if term.is_term() {
            term.hide_cursor()?;
            Surface::Terminal { term, drawn: 0 }
        } else {
            writeln!(io::stdout(), "{title}")?;
            Surface::Plain { due: PLAIN_INTERVAL }
        };
        Ok(Self { title, events: Vec::new(), surface })
    }

    /// Tells what was done.
    pub(super) fn event(&mut self, at: Duration, sentence: &str) -> io::Result<()> {
        let line = format!("{:5.1} s  {sentence}", at.as_secs_f64());
        if let Surface::Plain { .. } = self.surface {
            writeln!(io::stdout(), "{line}")?;
        }
        self.events.push(line);
        Ok(())
    }

    /// Shows the moment, when it is time to.
    pub(super) fn moment(&mut self, now: &Snapshot) -> io::Result<()> {
        match &mut self.surface {
            Surface::Terminal { term, drawn } => {
                *drawn = draw(term, *drawn, &table(&self.title, now, &self.events))?;
            }
            Surface::Plain { due } if now.at >= *due => {
                *due += PLAIN_INTERVAL;
                now.pools.iter().try_for_each(|row| writeln!(io::stdout(), "{}", plain(now.at, row)))?;
            }
            Surface::Plain { .. } => {}
        }
        Ok(())
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Surface::Terminal { term, .. } = &self.surface {
            // The terminal may be gone; then there is no cursor to show.
            let _shown = term.show_cursor().and_then(|()| term.flush());
        }
    }
}

/// Draws over what was drawn before, as much as fits; returns the number of lines.
fn draw(term: &Term, before: usize, lines: &[String]) -> io::Result<usize> {
    let (height, width) = term.size();
    let fitting = lines.iter().take(usize::from(height).saturating_sub(1));
    term.move_cursor_up(before)?;
    let mut drawn = 0;
    for line in fitting {
        term.clear_line()?;
        term.write_line(&truncate_str(line, width.into(), "…"))?;
        drawn += 1;
    }
    term.clear_to_end_of_screen()?;
    term.flush()?;
    Ok(drawn)
}

fn table(title: &str, now: &Snapshot, events: &[String]) -> Vec<String> {
    let mut lines = vec![style(format!("{title} · {:.1} s", now.at.as_secs_f64())).bold().to_string()];
    lines.extend([String::new(), style(figures_head()).dim().to_string()]);
    lines.extend(now.pools.iter().map(figures));
    lines.extend([
        String::new(),
        style("backends    and the sessions that the broker has with them").dim().to_string(),
    ]);
    lines.extend(now.pools.iter().map(backends));
    lines.push(String::new());
    let hidden = events.len().saturating_sub(EVENTS_SHOWN);
    lines.extend(events[hidden..].iter().cloned());
    lines
}

fn figures_head() -> String {
    format!(
        "{:<11}{:>9}{:>9}{:>10}{:>12}{:>10}{:>7}{:>10}",
        "pool", "sessions", "sent", "answered", "unanswered", "replayed", "twice", "in doubt"
    )
}

fn figures(row: &PoolRow) -> String {
    format!(
        "{:<11}{:>9}{:>9}{:>10}{:>12}{:>10}{:>7}{:>10}",
        row.name,
        row.sessions,
        row.sent,
        row.answered,
        row.sent - row.answered,
        row.replayed,
        row.twice,
        row.in_doubt
    )
}

fn backends(row: &PoolRow) -> String {
    let cells = row
        .backends
        .iter()
        .map(|cell| pad_str(&backend(cell), 22, console::Alignment::Left, None).into_owned());
    format!("{:<12}{}", row.name, cells.collect::<String>())
}

fn backend(cell: &BackendCell) -> String {
    let state = match cell.state {
        State::Running if cell.draining => style("DRAINING").yellow().bold(),
        State::Running if cell.penalised => style("up, tried last").yellow(),
        State::Running => style("up").green(),
        State::Stopped => style("STOPPED").yellow().bold(),
        State::Down => style("KILLED").red().bold(),
    };
    format!("{state}: {}", cell.sessions)
}

fn plain(at: Duration, row: &PoolRow) -> String {
    let PoolRow { name, sessions, sent, answered, replayed, twice, in_doubt, .. } = row;
    format!(
        "{:5.1} s  {name}: {sessions} sessions, {sent} sent, {answered} answered, {} unanswered, {replayed} replayed, \
         {twice} answered twice, {in_doubt} in doubt",
        at.as_secs_f64(),
        sent - answered
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let cell = |state, sessions| BackendCell { state, penalised: false, draining: false, sessions };
        let draining = BackendCell { draining: true, ..cell(State::Running, 66) };
        let backends = vec![draining, cell(State::Stopped, 33), cell(State::Down, 1)];
        let row = PoolRow {
            name: "immediate",
            sessions: 100,
            sent: 2000,
            answered: 1990,
            twice: 3,
            replayed: 40,
            in_doubt: 0,
            backends,
        };
        Snapshot { at: Duration::from_millis(2500), pools: vec![row] }
    }

    #[test]
    fn the_table_shows_every_figure_and_the_newest_events() {
        let events: Vec<_> = (0..9).map(|index| format!("event {index}")).collect();
        let lines = table("Demo", &snapshot(), &events);
        let lines: Vec<_> = lines.iter().map(|line| console::strip_ansi_codes(line)).collect();
        assert_eq!(lines[0], "Demo · 2.5 s");
        assert_eq!(
            lines[3],
            "immediate        100     2000      1990          10        40      3         0"
        );
        assert_eq!(
            lines[6],
            "immediate   DRAINING: 66          STOPPED: 33           KILLED: 1             "
        );
        assert_eq!(lines[8..], ["event 4", "event 5", "event 6", "event 7", "event 8"]);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_plain_line_reads_as_a_sentence() {
        assert_eq!(
            plain(Duration::from_millis(2500), &snapshot().pools[0]),
            "  2.5 s  immediate: 100 sessions, 2000 sent, 1990 answered, 10 unanswered, 40 replayed, \
             3 answered twice, 0 in doubt"
        );
    }
}
