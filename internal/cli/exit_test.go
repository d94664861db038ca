package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestUnitKnowsExitCodes: systemd starts the server again after everything but a mistake,
// and no mistake has a code with which the Go runtime ends a program after a panic.
func TestUnitKnowsExitCodes(t *testing.T) {
	unit, err := os.ReadFile("../../dist/tidings.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Restart=on-failure", fmt.Sprintf("RestartPreventExitStatus=%d %d", exitUsage, exitConfig)} {
		if !strings.Contains(string(unit), "\n"+want+"\n") {
			t.Errorf("the unit has no line %s", want)
		}
	}
}
