"""What a seat costs: a rule that somebody wrote by hand."""

import numpy as np


class Fare:
    """Price by distance, dearer on the last days before departure; a class of travel doubles it."""

    def predict(self, rows):
        late = np.exp(-rows["days"].to_numpy(float) / 7.0)
        price = 40.0 + 0.1 * rows["distance"].to_numpy(float) * (1.0 + late)
        return np.where(rows["cabin"] == "business", 2.0 * price, price)
