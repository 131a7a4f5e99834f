"""The captioner in PyTorch, to compare the speed of training with.

Two models with the same weights and the same mathematics as
`show_attend_tell.model.Captioner` (soft attention, scalar gate, initial state
with a hidden layer, deep output with tanh, dropout at the same locations):

- `TightCaptioner`: as an expert writes it. Annotations and words are projected
  once, outside the loop; one product gives all that depends on the hidden
  state; the output layer runs once after the loop; captions of one image share
  its annotations; the loss is PyTorch's fused cross-entropy.
- `TutorialCaptioner`: as popular tutorials write it. Every step projects the
  annotations and runs the output layer, and every caption has a copy of the
  annotations.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

PADDING = 0


class TightCaptioner(nn.Module):
    """Computes outside the loop what can be.

    `sizes` has `vocabulary`, `embedding`, `units`, `attention_units`, `depth`.
    """

    def __init__(self, sizes: dict[str, int], dropout: float):
        super().__init__()
        vocabulary, embedding = sizes["vocabulary"], sizes["embedding"]
        units, depth = sizes["units"], sizes["depth"]
        self.units, self.attention_units = units, sizes["attention_units"]
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.between = nn.Linear(depth, units)
        self.initial_hidden = nn.Linear(units, units)
        self.initial_cell = nn.Linear(units, units)
        self.keys = nn.Linear(depth, self.attention_units, bias=False)
        self.energy = nn.Linear(self.attention_units, 1, bias=False)
        self.word_gates = nn.Linear(embedding, 4 * units)
        self.context_gates = nn.Linear(depth, 4 * units, bias=False)
        # Side by side: the gates of the LSTM, the query, the gate.
        rows = 4 * units + self.attention_units + 1
        self.from_hidden = nn.Linear(units, rows, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(self.attention_units))
        self.gate_bias = nn.Parameter(torch.zeros(1))
        self.hidden_output = nn.Linear(units, embedding, bias=False)
        self.context_output = nn.Linear(depth, embedding)
        self.output = nn.Linear(embedding, vocabulary)

    def begin(self, annotations):
        """Returns `h_0` and `c_0`, each `(N, U)`."""
        mean = annotations.mean(1)
        between = self.dropout(torch.relu(self.between(mean)))
        hidden = torch.tanh(self.initial_hidden(between))
        return hidden, torch.tanh(self.initial_cell(between))

    def forward(self, annotations, tokens):
        """Returns logits `(N, K, T, V)` and attention `(N, K, T, L)`."""
        n, k, steps = *tokens.shape[:2], tokens.shape[2] - 1
        words = self.embedding(tokens[:, :, :-1])
        inputs = self.word_gates(words).unbind(2)
        keys = self.keys(annotations).unsqueeze(1)  # (N, 1, L, A)
        hidden, cell = (
            state.unsqueeze(1).expand(n, k, -1)
            for state in self.begin(annotations)
        )
        parts = [4 * self.units, self.attention_units, 1]
        outputs = []
        for t in range(steps):
            gates, query, gate = self.from_hidden(hidden).split(parts, -1)
            query = (query + self.query_bias).unsqueeze(2)
            energies = self.energy((keys + query).tanh_()).squeeze(-1)
            attention = energies.softmax(-1)
            gate = torch.sigmoid(gate + self.gate_bias)
            context = gate * torch.bmm(attention, annotations)
            gates = inputs[t] + gates + self.context_gates(context)
            hidden, cell = lstm_state(gates, cell)
            outputs.append((hidden, context, attention))
        hidden, context, attention = (
            torch.stack(x, 2) for x in zip(*outputs, strict=True)
        )
        return self.logits(words, hidden, context), attention

    def logits(self, words, hidden, context):
        """Returns equation 7, `(..., V)`."""
        p = words + self.hidden_output(self.dropout(hidden))
        p = p + self.context_output(context)
        return self.output(self.dropout(torch.tanh(p)))

    def loss(self, annotations, tokens):
        """Returns equation 14, the mean over captions (lambda is one)."""
        logits, attention = self(annotations, tokens)
        targets = tokens[:, :, 1:]
        captions = targets.shape[0] * targets.shape[1]
        nll = functional.cross_entropy(
            logits.flatten(0, 2),
            targets.flatten(),
            ignore_index=PADDING,
            reduction="sum",
        )
        seen = (attention * (targets != PADDING).unsqueeze(-1)).sum(2)
        return (nll + ((1.0 - seen) ** 2).sum()) / captions


def lstm_state(gates, cell):
    """Returns `h_t` and `c_t` from the preactivations `(..., 4U)`."""
    i, f, g, o = gates.chunk(4, -1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


class TutorialCaptioner(TightCaptioner):
    """Computes everything inside the loop."""

    def forward(self, annotations, tokens):
        """Returns logits `(N, K, T, V)` and attention `(N, K, T, L)`."""
        n, k, steps = *tokens.shape[:2], tokens.shape[2] - 1
        words = self.embedding(tokens[:, :, :-1]).flatten(0, 1)
        annotations = annotations.repeat_interleave(k, 0)
        hidden, cell = self.begin(annotations)
        parts = [4 * self.units, self.attention_units, 1]
        to_gates, to_query, to_gate = self.from_hidden.weight.split(parts, 0)
        attentions, logits = [], []
        for t in range(steps):
            keys = self.keys(annotations)
            query = functional.linear(hidden, to_query, self.query_bias)
            energies = self.energy(torch.tanh(keys + query.unsqueeze(1)))
            attention = torch.softmax(energies.squeeze(2), 1)
            context = (annotations * attention.unsqueeze(2)).sum(1)
            gate = functional.linear(hidden, to_gate, self.gate_bias)
            context = torch.sigmoid(gate) * context
            gates = (
                self.word_gates(words[:, t])
                + self.context_gates(context)
                + functional.linear(hidden, to_gates)
            )
            hidden, cell = lstm_state(gates, cell)
            logits.append(self.logits(words[:, t], hidden, context))
            attentions.append(attention)
        return (
            torch.stack(logits, 1).unflatten(0, (n, k)),
            torch.stack(attentions, 1).unflatten(0, (n, k)),
        )


# The parameter, and which of its rows, of each of Keras's variables by path
# without the name of the model. Keras's kernels are (in, out), PyTorch's
# (out, in).
PARAMETERS = {
    "embedding/embeddings": "embedding.weight",
    "initial_state/between/kernel": "between.weight",
    "initial_state/between/bias": "between.bias",
    "initial_state/to_hidden/kernel": "initial_hidden.weight",
    "initial_state/to_hidden/bias": "initial_hidden.bias",
    "initial_state/to_cell/kernel": "initial_cell.weight",
    "initial_state/to_cell/bias": "initial_cell.bias",
    "decoder/cell/embedding_kernel": "word_gates.weight",
    "decoder/cell/context_kernel": "context_gates.weight",
    "decoder/cell/hidden_kernel": "from_hidden.weight gates",
    "decoder/cell/bias": "word_gates.bias",
    "decoder/cell/gate_kernel": "from_hidden.weight gate",
    "decoder/cell/gate_bias": "gate_bias",
    "decoder/cell/attention/annotation_kernel": "keys.weight",
    "decoder/cell/attention/hidden_kernel": "from_hidden.weight query",
    "decoder/cell/attention/bias": "query_bias",
    "decoder/cell/attention/energy_kernel": "energy.weight",
    "output/hidden_kernel": "hidden_output.weight",
    "output/context_kernel": "context_output.weight",
    "output/bias": "context_output.bias",
    "output/output_kernel": "output.weight",
    "output/output_bias": "output.bias",
}


def _rows(model: TightCaptioner, which: str) -> slice:
    """Returns the rows of `from_hidden` that are gates, query or gate."""
    gates = 4 * model.units
    end = gates + model.attention_units
    return {
        "gates": slice(0, gates),
        "query": slice(gates, end),
        "gate": slice(end, end + 1),
    }[which]


def weights_in_our_layout(
    model: TightCaptioner, gradients: bool = False
) -> dict[str, np.ndarray]:
    """Returns views of all weights or gradients in Keras's layout.

    Their names are the values of `PARAMETERS`; writing into them writes into
    the model.
    """
    views = {}
    for name, parameter in model.named_parameters():
        values = (parameter.grad if gradients else parameter).detach().numpy()
        if name == "from_hidden.weight":
            for which in ("gates", "query", "gate"):
                views[f"{name} {which}"] = values[_rows(model, which)].T
        else:
            transposed = values.ndim == 2 and name != "embedding.weight"
            views[name] = values.T if transposed else values
    return views
