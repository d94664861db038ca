package channel

import "log/slog"

// LogValue hides the secret from logs, whichever way they are written.
func (Secret) LogValue() slog.Value { return slog.StringValue("******") }

// MarshalJSON hides the secret from JSON: whoever means to write it writes its bytes.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"******"`), nil }
