/* Written by .ci/generate.py from char_rnn.sampling.options. */

export const SAMPLING_OPTIONS = [
  {"name": "temperature", "label": "Temperature", "min": 0, "max": 2, "step": 0.05, "value": 0.8, "off": null, "optional": false, "help": "Temperature: below 1 safer, above 1 bolder text, 0 always the likeliest character."},
  {"name": "final_temperature", "label": "Final temperature", "min": 0, "max": 2, "step": 0.05, "value": 0.8, "off": null, "optional": true, "help": "Temperature at the last character; the temperature changes linearly over the text."},
  {"name": "top_k", "label": "Top-k", "min": 0, "max": 100, "step": 1, "value": 0, "off": 0, "optional": true, "help": "Sample from the K likeliest characters only."},
  {"name": "top_p", "label": "Top-p", "min": 0.05, "max": 1, "step": 0.01, "value": 1, "off": 1, "optional": true, "help": "Sample from the likeliest characters that together have probability P (nucleus sampling)."},
  {"name": "min_p", "label": "Min-p", "min": 0, "max": 0.5, "step": 0.01, "value": 0, "off": 0, "optional": true, "help": "Sample from the characters at least P times as likely as the likeliest."},
  {"name": "typical_p", "label": "Typical-p", "min": 0.05, "max": 1, "step": 0.01, "value": 1, "off": 1, "optional": true, "help": "Sample from the most typical characters that together have probability P (locally typical sampling)."},
  {"name": "repetition_penalty", "label": "Repetition penalty", "min": 1, "max": 2, "step": 0.05, "value": 1, "off": 1, "optional": false, "help": "Factor for the log-probabilities of recent characters: above 1 makes them less likely, below 1 likelier."},
  {"name": "repetition_window", "label": "Repetition window", "min": 8, "max": 512, "step": 8, "value": 64, "off": null, "optional": false, "help": "Number of recent characters that the repetition penalty applies to."},
];
