//! The documents of the repository as their readers use them: headings, links, and what they are told to type.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// A page in Markdown.
#[derive(Debug, Clone)]
pub struct Document {
    /// Relative to the root of the repository.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What stands between two fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its first line, counted from 1.
    pub line: usize,
    /// What is written behind the opening fence.
    pub language: String,
    /// Its lines.
    pub text: String,
}

/// A simple command, as a shell would run it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// The line where it begins, counted from 1.
    pub line: usize,
    /// The program and its arguments, without quotes. Variables stand as they are.
    pub words: Vec<String>,
    /// The files that its output goes to.
    pub writes: Vec<String>,
    /// What it reads from the document itself, between `<<EOF` and `EOF`.
    pub input: Option<String>,
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every page that people read: at the top, in `docs`, and of the chart.
///
/// # Panics
/// When one cannot be read.
pub fn documents() -> Vec<Document> {
    let mut paths = vec![PathBuf::from("charts/tagwarden/README.md")];
    for (directory, deep) in [(".", false), ("docs", true)] {
        collect(&root().join(directory), deep, &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(root().join(&path)).expect("the page can be read");
        Document { path, text }
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, deep: bool, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            if deep {
                collect(&path, deep, into);
            }
        } else if path.extension().is_some_and(|ending| ending == "md") {
            let name: PathBuf =
                path.strip_prefix(root()).expect("it is below the root").components().collect();
            into.push(name.strip_prefix(".").map(Path::to_owned).unwrap_or(name));
        }
    }
}

impl Document {
    /// `docs/mcp.md:12`.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Everything between fences.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(Block, &str)> = None;
        for (index, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            let indent = &line[..line.len() - bare.len()];
            match (bare.strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let language = language.trim().to_owned();
                    open = Some((Block { line: index + 2, language, text: String::new() }, indent));
                }
                (Some(""), Some(_)) => blocks.extend(open.take().map(|(block, _)| block)),
                (_, Some((block, indent))) => {
                    block.text.push_str(line.strip_prefix(*indent).unwrap_or(bare));
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path.display());
        blocks
    }

    /// The lines outside of fences, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut fenced = false;
        let mut lines = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                lines.push((index + 1, line));
            }
        }
        lines
    }

    /// Where links lead, with the line that each is in.
    pub fn links(&self) -> Vec<(usize, &str)> {
        let targets = |line: usize, text| {
            let after = str::split(text, "](").skip(1);
            after.filter_map(move |rest| Some((line, rest.split_once(')')?.0)))
        };
        self.prose().into_iter().flat_map(|(line, text)| targets(line, text)).collect()
    }

    /// What can stand behind `#` in a link to this page: its headings, in the spelling of GitHub.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for (_, line) in self.prose() {
            let title = line.trim_start_matches('#');
            if title.len() == line.len() || !title.starts_with(' ') {
                continue;
            }
            // The text of links counts, and where they lead does not.
            let mut shown = String::new();
            for (index, part) in title.trim().split("](").enumerate() {
                let part = if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
                shown.push_str(part);
            }
            let slug: String = shown
                .to_lowercase()
                .chars()
                .filter(|symbol| symbol.is_alphanumeric() || " -_".contains(*symbol))
                .map(|symbol| if symbol == ' ' { '-' } else { symbol })
                .collect();
            let again = (1..).map(|number| format!("{slug}-{number}"));
            let free = std::iter::once(slug.clone()).chain(again).find(|name| !anchors.contains(name));
            anchors.extend(free);
        }
        anchors
    }

    /// What readers are told to type: blocks of `sh`, and in blocks of `console` the lines behind `$`.
    pub fn commands(&self) -> Vec<Typed> {
        let mut typed = Vec::new();
        for block in self.blocks() {
            match block.language.as_str() {
                "sh" => typed.extend(commands(&block.text, block.line)),
                "console" => typed.extend(commands(&behind_prompts(&block.text), block.line)),
                _ => {}
            }
        }
        typed
    }
}

/// Lines that begin with `$ `, and those that continue them; the others are empty.
fn behind_prompts(text: &str) -> String {
    let mut shown = String::new();
    let mut continues = false;
    for line in text.lines() {
        let command = line.strip_prefix("$ ").or(continues.then_some(line)).unwrap_or_default();
        continues = command.ends_with('\\');
        shown.push_str(command);
        shown.push('\n');
    }
    shown
}

/// The simple commands of a script, those in `$(…)` before the one that uses them. `line` is the number of its first line.
pub fn commands(script: &str, line: usize) -> Vec<Typed> {
    let mut shell = Shell {
        rest: script.chars().peekable(),
        line,
        typed: Vec::new(),
        open: Typed::default(),
        word: None,
        next: Next::Word,
        ends: Vec::new(),
        waiting: Vec::new(),
    };
    shell.read();
    shell.typed
}

/// What the next word is.
#[derive(Clone, Copy)]
enum Next {
    Word,
    Written,
    Read,
    End,
}

struct Shell<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    typed: Vec<Typed>,
    open: Typed,
    word: Option<String>,
    next: Next,
    /// The words behind `<<` of the command that is open.
    ends: Vec<String>,
    /// Those of commands of this line that have ended.
    waiting: Vec<(usize, String)>,
}

impl Shell<'_> {
    fn read(&mut self) {
        while let Some(symbol) = self.rest.next() {
            match symbol {
                '\\' => match self.rest.next() {
                    Some('\n') => self.line += 1,
                    Some(other) => self.push(other),
                    None => {}
                },
                '\'' => self.quoted('\''),
                '"' => self.quoted('"'),
                '$' if self.rest.peek() == Some(&'(') => self.substituted(),
                '#' if self.word.is_none() => while self.rest.next_if(|symbol| *symbol != '\n').is_some() {},
                ' ' | '\t' => self.end_word(),
                '\n' => self.end_line(),
                '|' | ';' | '&' | '(' | ')' => self.end_command(),
                '>' | '<' => self.redirected(symbol),
                other => self.push(other),
            }
        }
        self.end_line();
    }

    fn push(&mut self, symbol: char) {
        if self.open.words.is_empty() && self.word.is_none() {
            self.open.line = self.line;
        }
        self.word.get_or_insert_default().push(symbol);
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(symbol) = self.rest.next() {
            match symbol {
                symbol if symbol == quote => return,
                '\\' if quote == '"' => {
                    if let Some(escaped) = self.rest.next() {
                        self.push(escaped);
                    }
                }
                '$' if quote == '"' && self.rest.peek() == Some(&'(') => self.substituted(),
                symbol => {
                    self.push(symbol);
                    self.line += usize::from(symbol == '\n');
                }
            }
        }
    }

    /// `$(…)`: commands of its own, and part of a word.
    fn substituted(&mut self) {
        let (began, mut depth, mut inner) = (self.line, 0, String::new());
        for symbol in self.rest.by_ref() {
            self.line += usize::from(symbol == '\n');
            depth += i32::from(symbol == '(') - i32::from(symbol == ')');
            inner.push(symbol);
            if depth == 0 {
                break;
            }
        }
        let script = inner.trim_start_matches('(').trim_end_matches(')');
        self.typed.extend(commands(script, began));
        self.push('$');
        self.word.get_or_insert_default().push_str(&inner);
    }

    fn redirected(&mut self, symbol: char) {
        // The number of a stream is no word.
        if self.word.as_ref().is_some_and(|word| word.chars().all(|symbol| symbol.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        let double = self.rest.next_if_eq(&symbol).is_some();
        self.next = match (symbol, double) {
            ('>', _) if self.rest.next_if_eq(&'&').is_some() => Next::Read,
            ('>', _) => Next::Written,
            (_, true) => Next::End,
            (_, false) => Next::Read,
        };
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match std::mem::replace(&mut self.next, Next::Word) {
            Next::Word => self.open.words.push(word),
            Next::Written => self.open.writes.push(word),
            Next::End => self.ends.push(word),
            Next::Read => {}
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let mut command = std::mem::take(&mut self.open);
        let ends = std::mem::take(&mut self.ends);
        // `NAME=value` before a program is for its environment.
        let assigned = command.words.iter().take_while(|word| is_assignment(word)).count();
        command.words.drain(..assigned);
        if !command.words.is_empty() {
            self.waiting.extend(ends.into_iter().map(|end| (self.typed.len(), end)));
            self.typed.push(command);
        }
    }

    fn end_line(&mut self) {
        self.end_command();
        self.line += 1;
        for (index, end) in std::mem::take(&mut self.waiting) {
            let mut input = String::new();
            loop {
                let mut line = String::new();
                while let Some(symbol) = self.rest.next_if(|symbol| *symbol != '\n') {
                    line.push(symbol);
                }
                let over = self.rest.next().is_none();
                self.line += 1;
                if line == end || (over && line.is_empty()) {
                    break;
                }
                input.push_str(&line);
                input.push('\n');
            }
            self.typed[index].input = Some(input);
        }
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name).unwrap_or_default();
    !name.is_empty() && name.chars().all(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<Vec<String>> {
        commands(script, 1).into_iter().map(|typed| typed.words).collect()
    }

    #[test]
    fn a_script_is_read_as_a_shell_reads_it() {
        for (script, expected) in [
            ("a b  c", vec![vec!["a", "b", "c"]]),
            ("a 'b c' \"d $E\" f\\ g   # h", vec![vec!["a", "b c", "d $E", "f g"]]),
            ("a \\\n  b\nc", vec![vec!["a", "b"], vec!["c"]]),
            ("A=1 B=x a --c=d | e && f; g &", vec![vec!["a", "--c=d"], vec!["e"], vec!["f"], vec!["g"]]),
            ("A=1", vec![]),
            ("a > b 2>&1 c", vec![vec!["a", "c"]]),
            ("A=$(b c) d \"$(e)\"", vec![vec!["b", "c"], vec!["e"], vec!["d", "$(e)"]]),
            ("a#b", vec![vec!["a#b"]]),
            ("# only words\n\n", vec![]),
        ] {
            assert_eq!(words(script), expected, "{script}");
        }
    }

    #[test]
    fn files_and_inputs_belong_to_their_command() {
        let typed = commands("cat > a.yaml <<'EOF'\nx: #1\nEOF\nb >> c\n", 10);
        let cat = Typed {
            line: 10,
            words: vec!["cat".to_owned()],
            writes: vec!["a.yaml".to_owned()],
            input: Some("x: #1\n".to_owned()),
        };
        assert_eq!(typed[0], cat);
        assert_eq!((typed[1].line, typed[1].writes.as_slice()), (13, &["c".to_owned()][..]));
        assert_eq!(typed.len(), 2);
    }

    #[test]
    fn a_page_has_blocks_links_and_anchors() {
        let text = "# A `b` & c\n[x](y.md#z) and [n](#a-b--c)\n\n```console\n$ tagwarden run \\\n  --x\nout\n$ b\n```\n## [L](m) d\n## [L](m) d\n";
        let document = Document { path: "p.md".into(), text: text.to_owned() };
        assert_eq!(document.links(), [(2, "y.md#z"), (2, "#a-b--c"), (10, "m"), (11, "m")]);
        assert_eq!(document.anchors(), ["a-b--c", "l-d", "l-d-1"].map(str::to_owned).into());
        let typed = document.commands();
        assert_eq!(typed[0].words, ["tagwarden", "run", "--x"]);
        assert_eq!((typed[0].line, typed[1].line, typed.len()), (5, 8, 2));
    }
}
