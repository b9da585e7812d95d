//! What a controller builds on.
