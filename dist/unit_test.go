package dist

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidings/internal/testenv"
)

const unit = "tidings.service"

// TestUnitIsShown: the operator's guide shows the unit as it is.
func TestUnitIsShown(t *testing.T) {
	if guide := read(t, "../doc/operating.md"); !strings.Contains(guide, "```ini\n"+read(t, unit)+"```\n") {
		t.Errorf("doc/operating.md does not show dist/%s as it is", unit)
	}
}

// TestUnitIsGood asks systemd itself.
func TestUnitIsGood(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	testenv.Need(t, "systemd-analyze", err)
	program, err := os.Executable() // any that is there
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), unit)
	text := strings.ReplaceAll(read(t, unit), "/usr/local/bin/tidings", program)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", name).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
