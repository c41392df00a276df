package cli

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
)

var negativeNumber = regexp.MustCompile(`^-[0-9]`)

// mark begins an argument that isn't to be taken for a flag. No argument can hold it by itself.
const mark = "\x00"

// negatives lets arguments of cmd be negative numbers, which would be taken for flags otherwise. It parses the flags in the place
// of cobra, so it has to be the last that is done to a command.
func negatives(cmd *cobra.Command) *cobra.Command {
	check, run := cmd.Args, cmd.RunE
	cmd.DisableFlagParsing = true
	cmd.Args = nil
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cmd.Flags().Parse(markNegatives(args)); err != nil {
			return command.Usage(err)
		}
		if help, err := cmd.Flags().GetBool("help"); err == nil && help {
			return cmd.Help()
		}
		args = cmd.Flags().Args()
		for i := range args {
			args[i] = strings.TrimPrefix(args[i], mark)
		}
		if err := checked(check, cmd, args); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// markNegatives leaves alone what is a flag's value, or comes behind "--".
func markNegatives(args []string) []string {
	marked := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(marked[i:], args[i:])
			break
		}
		ofFlag := i > 0 && strings.HasPrefix(args[i-1], "--") && !strings.Contains(args[i-1], "=")
		if negativeNumber.MatchString(arg) && !ofFlag {
			arg = mark + arg
		}
		marked[i] = arg
	}
	return marked
}
