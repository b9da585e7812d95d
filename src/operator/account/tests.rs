//! Tables: what is decided for an account, and what its status says.
