//! The table as flags of a command, with the variables behind them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::resolve::{Given, Source};
use super::table::{Default, SHARED, Setting, table};
use super::value::Shape;

/// What the command line and the environment say.
#[derive(Debug, Clone)]
pub struct SettingFlags {
    /// `--config`, and where it was given.
    pub config: Option<(PathBuf, Source)>,
    /// Values by field.
    pub given: Given,
}

const CONFIG: &str = "config";

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .env("TAGWARDEN_CONFIG")
            .hide_env_values(true)
            .help("Take settings from this YAML file. Flags and variables override it");
        let own = table().iter().filter(|setting| setting.field != SHARED);
        command.arg(config).args(own.map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.field)
        .long(setting.flag.as_str())
        .env(setting.variable.as_str())
        .hide_env_values(true)
        .value_name(setting.placeholder)
        .help_heading(setting.section)
        .help(about(setting));
    match setting.shape {
        Shape::One => argument.action(ArgAction::Set),
        Shape::Many => argument.action(ArgAction::Append),
        // `--flag` and `--flag=false`, never `--flag false`.
        Shape::Switch => {
            argument.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

fn about(setting: &Setting) -> String {
    let about = setting.about.trim_end_matches('.');
    match setting.default {
        Default::Nothing => about.to_owned(),
        Default::Text("false") if setting.shape == Shape::Switch => about.to_owned(),
        Default::Text(text) => format!("{about} [default: {text}]"),
        Default::Depends(words, _) => format!("{about} [default: {words}]"),
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Given::new();
        for setting in table() {
            let Some(source) = source(matches, setting.field) else { continue };
            let text = texts(matches, setting.field);
            // An empty variable is how a shell says that there is none.
            if source == Source::Flag || !text.is_empty() {
                given.insert(setting.field, (text, source));
            }
        }
        let config = matches.get_one::<String>(CONFIG).filter(|path| !path.is_empty());
        Ok(Self { config: config.map(PathBuf::from).zip(source(matches, CONFIG)), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Where an argument was given, if it was.
fn source(matches: &ArgMatches, id: &str) -> Option<Source> {
    match matches.value_source(id)? {
        ValueSource::CommandLine => Some(Source::Flag),
        ValueSource::EnvVariable => Some(Source::Variable),
        _ => None,
    }
}

/// All texts of an argument. The shared flag has been read as a path already.
fn texts(matches: &ArgMatches, field: &str) -> String {
    if field == SHARED {
        let path = matches.get_one::<OsString>(field);
        return path.map(|path| path.display().to_string()).unwrap_or_default();
    }
    let texts: Vec<&str> =
        matches.get_many::<String>(field).into_iter().flatten().map(String::as_str).collect();
    texts.join(",")
}
