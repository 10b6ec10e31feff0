"""File layouts that several datasets share: official folders, tables, MATLAB files, copies."""
