"""The centre: receives, searches, adjudicates, personalises, ships and knows where every record and card is."""
