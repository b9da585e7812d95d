//! The settings of `tagwarden run`: from flags, variables, a file and defaults to one typed value, so that nothing
//! further in has to ask the environment.

mod file;
mod flags;
pub mod page;
mod resolve;
mod table;
mod value;

pub use flags::SettingFlags;
pub use resolve::{Resolution, SettingsError, Source, Surroundings};
pub use table::Settings;
pub use value::{Auth, ControlPlane, LogFormat};

impl SettingFlags {
    /// The settings that come of these flags, here.
    pub fn resolve(self) -> Result<Resolution, SettingsError> {
        let file = self.config.map(|(path, _)| path);
        resolve::resolve(self.given, file, &Surroundings::here())
    }
}
