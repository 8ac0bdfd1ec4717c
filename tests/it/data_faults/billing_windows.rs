//! billing_windows
