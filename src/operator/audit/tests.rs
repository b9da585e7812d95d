//! Tables of what is due, and of what a status says.

mod decide;
mod dereference;
mod status;
