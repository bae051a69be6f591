"""One guarded GET for downloads, probes and pictures: vetted addresses, checked redirects, bounded responses."""
