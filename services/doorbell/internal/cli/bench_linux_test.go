package cli

const benchNonsense = `unknown command "nonsense" for "doorbell bench"; there are herd, reads, signals`
