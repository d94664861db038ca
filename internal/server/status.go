package server

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tidings/internal/admin"
	"tidings/internal/dispatch"
)

// status says how a running server is.
func (s *Server) status(ctx context.Context) (admin.Status, error) {
	st := directoryStatus(s.cfg.Data)
	st.Interrupted = false
	st.Running, st.Version, st.Go, st.PID = true, s.build.Version, s.build.Go, os.Getpid()
	st.Started, st.URL, st.Metrics = s.started, s.URL(), s.MetricsURL()
	apps := len(s.apps.All())
	st.Apps = &apps
	// A disk that is stuck holds up whoever counts.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if users, devices, err := s.users(ctx); err == nil {
		st.Users, st.Devices = &users, &devices
	}
	st.Channels = s.troubledChannels()
	if s.cert != nil {
		st.CertificateEnds = s.cert.used.Load().Leaf.NotAfter.UTC()
	}
	st.TakesChanges = true
	if err := s.store.Ready(); err != nil {
		st.TakesChanges, st.Reason = false, err.Error()
	}
	st.LastError = lastError(s.log)
	return st, nil
}

// troubledChannels returns the lanes that are not as they should be.
func (s *Server) troubledChannels() (all []admin.ChannelStatus) {
	for _, a := range s.apps.All() {
		for _, l := range s.dispatcher.Lanes(a.ID) {
			if l.State != dispatch.LaneOK || l.Alarm != "" {
				all = append(all, admin.ChannelStatus{
					App: a.ID, Certificate: l.Certificate, Provider: l.Provider, State: string(l.State), Reason: l.Reason, Since: l.Since, Alarm: l.Alarm,
				})
			}
		}
	}
	return all
}

// directoryStatus says what shows of a data directory from outside.
func directoryStatus(dir string) admin.Status {
	st := admin.Status{Data: dir}
	for part, size := range map[string]*int64{
		"log": &st.Disk.Log, "kept-log": &st.Disk.KeptLog, "checkpoints": &st.Disk.Checkpoints, "db": &st.Disk.Tables,
	} {
		*size = directorySize(filepath.Join(dir, part))
	}
	entries, _ := os.ReadDir(filepath.Join(dir, "checkpoints"))
	for _, e := range entries { // by name, and so by position; one that is being written has another ending
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == "" {
			st.Checkpoint = &admin.StatusCheckpoint{Time: info.ModTime().UTC().Truncate(time.Second), Bytes: info.Size()}
		}
	}
	_, err := os.Stat(filepath.Join(dir, "running"))
	st.Interrupted = err == nil
	return st
}

// directorySize returns the bytes of the files in a directory. Files come and go meanwhile.
func directorySize(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}
