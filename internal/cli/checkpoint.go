package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
)

func (e *env) checkpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Write a checkpoint, so that the next start is quick",
		Long: `Write what the server has in memory into the data directory, and return when that
is complete. A start reads the newest checkpoint and then the log after it. The
server writes checkpoints on its own when the log has become long; one more is
worth its while before a planned restart. It works while the server runs, and no
request waits for it.`,
		Args: takes(),
	}
	dataFlag(cmd.Flags())
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := ask(e, cmd, admin.Checkpoint, admin.None{})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(c)
		}
		if c.Seconds == 0 {
			_, err = fmt.Fprintf(e.stdout, "nothing has changed since the checkpoint at position %d\n", c.Position)
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "checkpoint at position %d: %d bytes in %.2f s\n", c.Position, c.Bytes, c.Seconds)
		return err
	}
	return cmd
}
