package cli

import (
	"log/slog"
	"net"
)

// tellManager sends a state to the service manager that started the process and asks for
// it (sd_notify of systemd, Type=notify); without one it does nothing.
func (e *env) tellManager(log *slog.Logger, state string) {
	name, _ := e.lookup("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		log.Warn("the service manager cannot be told of the server's state", "error", err)
	}
}
