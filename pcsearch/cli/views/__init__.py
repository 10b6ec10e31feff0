"""What commands show: tables, the live view, plain lines; they format and decide nothing."""
